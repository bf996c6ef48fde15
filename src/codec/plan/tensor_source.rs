//! The source of a tensor's bytes for an encoder.

use std::borrow::Cow;
use std::ops::Range;

/// A tensor's little-endian bytes, in memory or read on request.
///
/// An encoder requests each byte several times, and from several threads. A source cannot return a read error
/// here. It returns zeros and keeps the error, and its creator must check for that before using the payload.
pub trait TensorSource: Sync {
    /// Bytes of the tensor.
    fn size(&self) -> usize;

    /// The bytes in `range`, which must lie within the tensor.
    fn bytes(&self, range: Range<usize>) -> Cow<'_, [u8]>;
}

impl TensorSource for &[u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn bytes(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self[range])
    }
}
