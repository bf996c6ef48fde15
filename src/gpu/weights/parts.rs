//! The parts of a matrix, and where the pieces of its payload go in them.

use std::ops::Range;

use super::layouts::dense::sections;
use super::layouts::raw;
use super::matrix_params::MatrixParams;
use super::tiles::Tiles;
use super::words::Words;
use crate::gpu::device::dispatch::MAX_WORKGROUPS;
use crate::gpu::{Gpu, GpuError};
use crate::tensor::Dtype;

/// Maximum bytes of a part, so that the position of each bit fits 32 bits.
const MAX_PART: u64 = 256 << 20;

/// Bytes of a slot for a part of `len` bytes, aligned so that the next one can be bound.
pub(in crate::gpu) fn slot_bytes(len: u64) -> u64 {
    Gpu::buffer_bytes(len).next_multiple_of(256)
}

/// A piece of a payload, and its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Byte range in the payload.
    pub payload: Range<usize>,
    /// Byte offset in the buffer.
    pub at: u64,
}

/// Row blocks of a payload that are decoded, and their destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBlocks {
    /// Row blocks of the payload.
    pub row_blocks: Range<usize>,
    /// Byte offset of the first one in the buffer.
    pub at: u64,
    /// Bytes of each decoded row block.
    pub each: u64,
}

impl RowBlocks {
    /// The byte offset at which the last one ends.
    pub fn end(&self) -> u64 {
        self.at + self.row_blocks.len() as u64 * self.each
    }
}

/// The contents of a part of a tiled matrix.
pub(in crate::gpu) struct PartLayout {
    pub params: MatrixParams,
    pub pieces: Vec<Piece>,
    pub len: u64,
}

/// The parts of a tiled matrix. Each would fit a binding even if its row blocks had `least_block` bytes.
pub(in crate::gpu) fn lay_out(
    gpu: &Gpu,
    label: &str,
    tiles: &Tiles<'_>,
    least_block: u64,
) -> Result<Vec<PartLayout>, GpuError> {
    let Tiles { tiled, kept, .. } = *tiles;
    let size = |r: Range<usize>| sections::bytes_of(tiled, kept, r.clone()).max(least_block * r.len() as u64);
    let lay_out_part = |row_blocks: Range<usize>| {
        let (params, payloads) = sections::part_of(tiled, kept, row_blocks);
        let (mut pieces, mut len) = (Vec::new(), 0u64);
        for payload in payloads {
            let at = len;
            len += payload.len() as u64;
            pieces.push(Piece { payload, at });
        }
        PartLayout { params, pieces, len }
    };
    Ok(split_row_blocks(gpu, label, tiles.row_blocks(), size)?.into_iter().map(lay_out_part).collect())
}

/// Maximum bytes of a part.
pub(in crate::gpu) fn most_part(gpu: &Gpu) -> u64 {
    Words::most_bytes(gpu).min(MAX_PART)
}

/// Divides uncompressed weights into parts.
pub(in crate::gpu) fn split_wide(
    gpu: &Gpu,
    label: &str,
    dtype: Dtype,
    cols: usize,
    row_blocks: Range<usize>,
) -> Result<Vec<Range<usize>>, GpuError> {
    let block = raw::row_block_bytes(dtype, cols) as u64;
    split_row_blocks(gpu, label, row_blocks, |r| r.len() as u64 * block)
}

/// Divides `row_blocks` into as few parts as possible whose `size` fits a binding each. An error if a single
/// row block is too large, because shaders could not address its bits.
fn split_row_blocks(
    gpu: &Gpu,
    label: &str,
    row_blocks: Range<usize>,
    size: impl Fn(Range<usize>) -> u64,
) -> Result<Vec<Range<usize>>, GpuError> {
    split_to(most_part(gpu), label, row_blocks, size)
}

/// The same for parts of up to `limit` bytes. No part has more row blocks than the maximum of workgroups
/// along a dimension.
fn split_to(
    limit: u64,
    label: &str,
    row_blocks: Range<usize>,
    size: impl Fn(Range<usize>) -> u64,
) -> Result<Vec<Range<usize>>, GpuError> {
    let mut parts = Vec::new();
    let mut start = row_blocks.start;
    while start < row_blocks.end {
        let wanted = size(start..start + 1);
        if wanted > limit {
            return Err(GpuError::BindingTooLarge { label: label.into(), wanted, limit });
        }
        // Sizes grow with the end, so a binary search finds the last end that fits.
        let (mut end, mut most) = (start + 1, row_blocks.end.min(start + MAX_WORKGROUPS as usize));
        while end < most {
            let middle = (end + most).div_ceil(2);
            if size(start..middle) <= limit {
                end = middle;
            } else {
                most = middle - 1;
            }
        }
        parts.push(start..end);
        start = end;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_a_binding_and_a_dispatch() {
        let parts = |limit, count: usize, each: u64| {
            split_to(limit, "test", 0..count, |r| r.len() as u64 * each).unwrap()
        };
        assert_eq!(parts(100, 7, 30), [0..3, 3..6, 6..7]);
        assert_eq!(parts(u64::MAX, 140_000, 1), [0..65_535, 65_535..131_070, 131_070..140_000]);
        let error = split_to(100, "test", 0..2, |_| 101);
        assert!(matches!(error, Err(GpuError::BindingTooLarge { wanted: 101, limit: 100, .. })));
    }
}
