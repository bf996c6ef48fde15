//! A GGUF file, checked once at the door and then handed out as plain entries.

use std::path::{Path, PathBuf};

use super::FileReader;
use super::bytes::Bytes;
use super::gguf_header::GgufHeader;
use super::{ReadError, TensorEntry};

/// A GGUF file, mapped or in memory, whose header has been checked: every entry's range lies in the file, has the
/// length its type and shape ask for where the type is known, and shares no byte with another.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    bytes: Bytes,
    prefix_len: usize,
    tensors: Vec<TensorEntry>,
}

impl GgufFile {
    /// Maps and checks the file at `path`. Versions 2 and 3 are read, little-endian.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::check(path, Bytes::open(path)?)
    }

    pub(super) fn check(path: &Path, bytes: Bytes) -> Result<Self, ReadError> {
        let bad = |source| ReadError::Gguf { path: path.into(), source };
        let header = GgufHeader::of_file(&bytes).map_err(bad)?;
        let tensors = header.entries(bytes.len()).map_err(bad)?;
        Ok(Self { path: path.into(), prefix_len: header.prefix_len(bytes.len()), bytes, tensors })
    }

    /// Where the file is, or what it was said to be called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What reads this file by position. It can be kept longer than this.
    pub fn reader(&self) -> FileReader {
        FileReader::new(&self.path, &self.bytes)
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The bytes of one of this file's tensors.
    ///
    /// # Panics
    /// If `entry` is of another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes[entry.range.clone()]
    }

    /// All bytes that belong to no tensor, in file order: the header with its padding, what lies
    /// between tensors, and what follows the last. At most 100 MB.
    pub fn outside(&self) -> Vec<u8> {
        let mut outside = self.bytes[..self.prefix_len].to_vec();
        let mut at = self.prefix_len;
        for tensor in &self.tensors {
            outside.extend_from_slice(&self.bytes[at..tensor.range.start]);
            at = tensor.range.end;
        }
        outside.extend_from_slice(&self.bytes[at..]);
        outside
    }
}
