//! Where an encoder finds a tensor's bytes.

use std::borrow::Cow;
use std::ops::Range;

/// A tensor's little-endian bytes, in memory or read as they are asked for.
///
/// An encoder asks for each of them several times, and from several threads. A source that cannot read has no way to
/// say so here: it gives zeros and remembers its error, and whoever made it asks it for that before the payload is used.
pub trait TensorSource: Sync {
    /// Bytes of the tensor.
    fn size(&self) -> usize;

    /// The bytes `range`, which ends within the tensor.
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
