//! Tensors that are stored uncompressed.

use std::io;

use rayon::prelude::*;

use super::error::EncodeError;
use super::put::{EncodedPayload, Put, put_head};
use crate::codec::payload::checksum::checksum;
use crate::codec::payload::grid::SECTION_ALIGN;
use crate::codec::payload::groups::{raw_groups, raw_range};
use crate::codec::payload::head_writer::HeadWriter;
use crate::codec::plan::tensor_source::TensorSource;

/// Maximum length of the payload of a tensor of `len` bytes: that of a raw payload.
pub fn most_bytes(len: usize) -> usize {
    raw_payload_len(0, len)
}

/// Length of the raw payload of a tensor of `len` bytes.
pub(crate) fn raw_payload_len(code: u8, len: usize) -> usize {
    HeadWriter::new(code, len).padded_len(raw_groups(len)) + len.next_multiple_of(SECTION_ALIGN)
}

/// Writes the raw payload of the tensor.
pub(crate) fn encode_raw(
    code: u8,
    data: &dyn TensorSource,
    put: &Put<'_>,
) -> Result<EncodedPayload, EncodeError> {
    let len = data.size();
    let writer = HeadWriter::new(code, len);
    let groups = raw_groups(len);
    let head_len = writer.padded_len(groups);
    let sums = (0..groups).into_par_iter().map(|group| {
        let range = raw_range(0, len, group);
        let inside = data.bytes(range.start..range.end.min(len));
        if inside.len() == range.len() {
            put(head_len + range.start, &inside)?;
            return Ok(checksum(&inside));
        }
        let padded = [&inside[..], &vec![0; range.len() - inside.len()]].concat();
        put(head_len + range.start, &padded)?;
        Ok(checksum(&padded))
    });
    let sums: Vec<u64> = sums.collect::<io::Result<_>>()?;
    put_head(writer, &sums, head_len + len.next_multiple_of(SECTION_ALIGN), put)
}
