//! A plain tensor that is encoded while its file is read by position.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec::TensorSource;
use crate::tensor::FileReader;

/// Where the tensor is. It keeps the first read error.
pub(super) struct ReadTensor {
    reader: FileReader,
    range: Range<usize>,
    has_failed: AtomicBool,
    error: Mutex<Option<io::Error>>,
}

impl ReadTensor {
    /// The bytes `range` of the file that `reader` reads.
    pub fn new(reader: FileReader, range: Range<usize>) -> Self {
        Self { reader, range, has_failed: AtomicBool::new(false), error: Mutex::new(None) }
    }

    /// Whether a read has failed, so that results are useless.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// The first read error; `None` on later calls.
    pub fn error(&self) -> Option<io::Error> {
        self.error.lock().unwrap_or_else(|e| e.into_inner()).take()
    }

    fn fail(&self, error: io::Error) {
        self.error.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

impl TensorSource for ReadTensor {
    fn size(&self) -> usize {
        self.range.len()
    }

    fn bytes(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; range.len()];
        if !self.has_failed()
            && let Err(error) = self.reader.read_exact_at(&mut bytes, (self.range.start + range.start) as u64)
        {
            self.fail(error);
        }
        Cow::Owned(bytes)
    }
}
