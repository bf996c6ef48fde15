//! Handing a payload over, piece by piece.

use std::io;

use super::error::EncodeError;
use crate::codec::payload::head::Head;
use crate::codec::payload::head_writer::HeadWriter;

/// Receives pieces of a payload: their offset, and their bytes. Pieces may come from any thread and
/// in any order. What is put twice has the later value, and what lies behind the payload's end is of
/// no meaning.
pub type Put<'a> = dyn Fn(usize, &[u8]) -> io::Result<()> + Sync + 'a;

/// What [`Encoder::encode_to`](super::Encoder::encode_to) has handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    /// Bytes of the payload.
    pub len: usize,
    /// Its head.
    pub head: Head,
}

/// Finishes a payload of `len` bytes, all but its head put.
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
