//! Pieces of tensors, and their payloads.

use std::ops::Range;

use crate::codec::{CodecError, Delta, Payload, encode, encode_delta_in_memory};
use crate::tensor::Dtype;

/// Most bytes of a piece, so that no tensor need be in memory as a whole.
const MOST: usize = 64 << 20;

/// Bytes of pieces that are encoded together.
pub(super) const TOGETHER: usize = 64 << 20;

/// Rows of a piece are a multiple of this where there are more pieces than one.
const ROWS: usize = 64;

/// Bytes of the largest piece of which even a very short difference is compared to the piece encoded alone: larger ones that
/// are shorter alone than a quarter are of few values, and lose little.
const SMALL: usize = 64 << 10;

/// A part of a tensor: whole rows of the first dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub shape: Vec<usize>,
    /// Its bytes in the tensor.
    pub bytes: Range<usize>,
}

/// The pieces of a tensor of `len` bytes.
pub(super) fn parts(dtype: Dtype, shape: &[usize], len: usize) -> Vec<Part> {
    parts_within(dtype, shape, len, MOST)
}

fn parts_within(dtype: Dtype, shape: &[usize], len: usize, most: usize) -> Vec<Part> {
    let whole = Part { shape: shape.into(), bytes: 0..len };
    let Some((&rows, inner)) = shape.split_first() else { return vec![whole] };
    if len <= most || rows == 0 || !len.is_multiple_of(rows) || dtype.bitsize() < 8 {
        return vec![whole];
    }
    let row_bytes = len / rows;
    let each = (most / row_bytes / ROWS * ROWS).max(1);
    let part = |first: usize| {
        let last = rows.min(first + each);
        let shape = [&[last - first], inner].concat();
        Part { shape, bytes: first * row_bytes..last * row_bytes }
    };
    (0..rows).step_by(each).map(part).collect()
}

/// A piece's payload, and the hash of its base if it is a difference.
pub(super) struct Coded {
    pub payload: Vec<u8>,
    pub base: Option<blake3::Hash>,
}

/// Encodes a piece alone or as the difference to `base`, whichever is smaller, and makes sure that it comes back. A
/// difference of less than a quarter of a large piece is taken for smaller.
pub(super) fn encode_piece(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    base: Option<(&[u8], blake3::Hash)>,
) -> Result<Coded, CodecError> {
    let delta = match base {
        Some(base) => encode_delta_in_memory(dtype, shape, data, base)?.map(|payload| (payload, base)),
        None => None,
    };
    let mut alone = None;
    if let Some((payload, (base, hash))) = delta {
        let is_short = data.len() > SMALL && payload.len() < data.len() / 4;
        if is_short || payload.len() < alone.insert(encode(dtype, shape, data)?).len() {
            require_equal(&Delta::parse(&payload)?.decode(base)?, data)?;
            return Ok(Coded { payload, base: Some(hash) });
        }
    }
    let payload = match alone {
        Some(payload) => payload,
        None => encode(dtype, shape, data)?,
    };
    require_equal(&Payload::parse(&payload)?.decode()?, data)?;
    Ok(Coded { payload, base: None })
}

/// A payload that does not decode to what was encoded is an error of the processor or its memory, or of the
/// codec.
fn require_equal(decoded: &[u8], data: &[u8]) -> Result<(), CodecError> {
    match decoded == data {
        true => Ok(()),
        false => Err(CodecError::BadHead("the payload does not decode to what was encoded")),
    }
}

/// A piece's bytes from its payload, and from those of its base if it is a difference.
pub(super) fn decode_piece(payload: &[u8], base: Option<&[u8]>) -> Result<Vec<u8>, CodecError> {
    match base {
        None => {
            let payload = Payload::parse(payload)?;
            payload.check()?;
            payload.decode()
        }
        Some(base) => {
            let delta = Delta::parse(payload)?;
            delta.check()?;
            delta.decode(base)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_rows_and_cover_the_tensor() {
        for (shape, len) in [(&[1000, 3][..], 6000), (&[7, 2000], 28_000), (&[5], 10), (&[], 2), (&[0, 4], 0)]
        {
            let parts = parts_within(Dtype::BF16, shape, len, 1024);
            assert_eq!(parts.iter().map(|part| part.bytes.len()).sum::<usize>(), len);
            for (part, next) in parts.iter().zip(&parts[1..]) {
                assert_eq!((part.bytes.end, part.shape.len()), (next.bytes.start, shape.len()));
            }
            for part in &parts {
                assert_eq!(part.shape.iter().product::<usize>() * 2, part.bytes.len());
            }
        }
        assert_eq!(parts_within(Dtype::BF16, &[1000, 3], 6000, 1024).len(), 8);
        assert_eq!(parts_within(Dtype::F4, &[4096], 2048, 1024).len(), 1);
    }
}
