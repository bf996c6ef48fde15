//! Writing a payload in pieces.

use std::io;

use super::error::EncodeError;
use crate::codec::payload::head::Head;
use crate::codec::payload::head_writer::HeadWriter;

/// Receives pieces of a payload: an offset, and bytes. Pieces may come from any thread and in any order. If
/// an offset is written twice, the later bytes count. Bytes beyond the payload's end are meaningless.
pub type Put<'a> = dyn Fn(usize, &[u8]) -> io::Result<()> + Sync + 'a;

/// The result of [`Encoder::encode_to`](super::Encoder::encode_to).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    /// Bytes of the payload.
    pub len: usize,
    /// Its head.
    pub head: Head,
}

/// Finishes a payload of `len` bytes, of which all but the head has been written.
pub(crate) fn put_head(
    writer: HeadWriter,
    sums: &[u64],
    len: usize,
    put: &Put<'_>,
) -> Result<EncodedPayload, EncodeError> {
    let head = writer.finish(sums, len);
    put(0, &head)?;
    Ok(EncodedPayload { len, head: Head::parse_front(&head, len)? })
}
