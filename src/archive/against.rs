//! A tensor's counterpart in the model to which differences are made.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;

use super::{ArchiveError, ModelFiles, TensorReader};
use crate::codec::{TensorSource, has_differences};
use crate::tensor::TensorEntry;

/// The tensor of `base` to which `tensor` could be stored as the difference: that of the same name, type and
/// shape, the number of rows excepted, if the type is a float. The error is that of reading its head.
pub(super) fn counterpart(
    base: &ModelFiles,
    tensor: &TensorEntry,
) -> Result<Option<BaseTensor>, ArchiveError> {
    let weight = base.weight(&tensor.name).filter(|weight| {
        let same_rows = match (weight.shape, &tensor.shape[..]) {
            ([_, old @ ..], [_, new @ ..]) => old == new,
            (old, new) => old == new,
        };
        weight.dtype == tensor.dtype && same_rows && weight.original_len > 0 && weight.lossy().is_none()
    });
    let Some(weight) = weight.filter(|_| is_candidate(tensor)) else { return Ok(None) };
    // An archive may be no base itself: its own would be needed, too.
    Ok(Some(BaseTensor { reader: weight.reader()?, hash: weight.blake3(), error: Mutex::new(None) }))
}

/// Whether a tensor of such a type could be stored as a difference.
pub(super) fn is_candidate(tensor: &TensorEntry) -> bool {
    tensor.quantized.is_none() && has_differences(tensor.dtype) && !tensor.range.is_empty()
}

/// The counterpart, read by position. It keeps the first error.
pub(super) struct BaseTensor {
    reader: TensorReader,
    hash: Option<blake3::Hash>,
    error: Mutex<Option<ArchiveError>>,
}

impl BaseTensor {
    /// All of its bytes, checked, with their hash. Use it for small tensors.
    pub fn read_all(&self) -> Result<(Vec<u8>, blake3::Hash), ArchiveError> {
        let bytes = self.reader.read_all()?;
        let hash = blake3::hash(&bytes);
        Ok((bytes, hash))
    }

    /// The hash of its bytes, `at_once` of which are in memory at a time.
    pub fn hash(&self, at_once: usize) -> Result<blake3::Hash, ArchiveError> {
        if let Some(hash) = self.hash {
            self.reader.check(Default::default())?;
            return Ok(hash);
        }
        let mut hasher = blake3::Hasher::new();
        for at in (0..self.size()).step_by(at_once) {
            hasher.update_rayon(&self.bytes(at..self.size().min(at + at_once)));
        }
        self.error().map_or(Ok(hasher.finalize()), Err)
    }

    /// The first error; `None` on later calls.
    pub fn error(&self) -> Option<ArchiveError> {
        self.error.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

impl TensorSource for BaseTensor {
    fn size(&self) -> usize {
        self.reader.original_len
    }

    fn bytes(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; range.len()];
        if let Err(error) = self.reader.decode_bytes(range, &mut bytes) {
            self.error.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
        }
        Cow::Owned(bytes)
    }
}
