//! The layout of uncompressed weights that `shaders/shared/raw.wgsl` reads. Four words of a lane form a
//! vector; vector `v` of lane `l` of a row block is at `64 v + l`. Zeros pad each row to whole chunks.

use super::layout::Layout;
use crate::codec::grid::LANES;
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};
use crate::gpu::{Invocations, InvocationsByStorage, Target, Texel, Variant, WidenFrom};
use crate::tensor::Dtype;

/// The unit in which shaders read.
pub(in crate::gpu) const TEXEL: Texel = Texel::Vector;

/// The property in which uncompressed matrices differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawFormat {
    /// BF16, two per word.
    Bf16,
    /// F16, two per word.
    F16,
    /// F32.
    F32,
}

impl RawFormat {
    /// The format of weights of `dtype`; `None` for a type that no product reads.
    pub(in crate::gpu) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::BF16 => Some(Self::Bf16),
            Dtype::F16 => Some(Self::F16),
            Dtype::F32 => Some(Self::F32),
            _ => None,
        }
    }
}

/// All formats.
pub(super) fn samples(_: Option<Target>) -> Vec<RawFormat> {
    vec![RawFormat::Bf16, RawFormat::F16, RawFormat::F32]
}

impl Layout for RawFormat {
    fn name(&self) -> String {
        match self {
            Self::Bf16 => "bf16".into(),
            Self::F16 => "f16".into(),
            Self::F32 => "f32".into(),
        }
    }

    fn apply(&self, variant: Variant) -> Variant {
        match self {
            Self::Bf16 => variant.constant("WEIGHT_BITS", 16),
            Self::F16 => variant.flag("WEIGHT_F16").constant("WEIGHT_BITS", 16),
            Self::F32 => variant.flag("WEIGHT_F32").constant("WEIGHT_BITS", 32),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::Bf16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
            Self::F32 => Dtype::F32,
        }
    }

    fn texel(&self) -> Texel {
        TEXEL
    }

    fn is_compressed(&self) -> bool {
        false
    }

    fn invocations(&self, by: &InvocationsByStorage) -> Invocations {
        by.raw
    }

    fn widen_from(&self, _: &WidenFrom) -> usize {
        usize::MAX
    }

    fn skip_row_blocks(&self, params: &mut MatrixParams, count: u32) {
        let bytes = row_block_bytes(self.dtype(), params.cols as usize);
        params.words_at += count * (bytes / 16) as u32;
    }

    fn move_to(&self, params: &mut MatrixParams, at: u64, _: u32) {
        params.words_at = (at / 16) as u32;
    }

    fn product_rounds(&self, params: &MatrixParams, _: u64) -> u64 {
        5 * u64::from(params.cols).div_ceil(WIDE_CHUNK as u64)
    }
}

/// Bytes of a vector.
const VECTOR: usize = 16;

/// Vectors of a lane that are interleaved at a time: a cache line of its row. Chunks are multiples of it.
const RUN: usize = 4;

/// Bytes of a row, padded to whole chunks.
fn row_bytes(dtype: Dtype, cols: usize) -> usize {
    cols.next_multiple_of(WIDE_CHUNK) * dtype.bitsize() / 8
}

/// Bytes of a row block of `cols` columns.
pub fn row_block_bytes(dtype: Dtype, cols: usize) -> usize {
    row_bytes(dtype, cols) * LANES
}

/// Interleaves the rows of one row block, which have `cols` elements of `dtype` each. Passes the row block to
/// `put` in runs of 4 KiB, each with its byte offset.
pub fn interleave(rows: &[u8], dtype: Dtype, cols: usize, mut put: impl FnMut(usize, &[u8])) {
    let each = (cols * dtype.bitsize() / 8).max(1);
    // Lanes without a row stay zero.
    let mut run = [[0u32; 4]; RUN * LANES];
    for first in (0..row_bytes(dtype, cols)).step_by(RUN * VECTOR) {
        for (lane, row) in rows.chunks_exact(each).take(LANES).enumerate() {
            let row = row.get(first..).unwrap_or_default();
            let line = match row.first_chunk() {
                Some(whole) => bytemuck::cast::<[u8; RUN * VECTOR], [[u8; VECTOR]; RUN]>(*whole),
                None => last_line(row),
            };
            for (v, vector) in line.into_iter().enumerate() {
                run[v * LANES + lane] = bytemuck::cast::<_, [u32; 4]>(vector).map(u32::from_le);
            }
        }
        put(first * LANES, bytemuck::cast_slice(&run));
    }
}

/// The last vectors of a row, padded with zeros.
#[cold]
fn last_line(row: &[u8]) -> [[u8; VECTOR]; RUN] {
    let mut line = [[0; VECTOR]; RUN];
    line.as_flattened_mut()[..row.len()].copy_from_slice(row);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_has_its_place_and_the_rest_is_zero() {
        for (dtype, lanes, cols) in
            [(Dtype::BF16, 64, 96), (Dtype::F16, 3, 33), (Dtype::F32, 64, 43), (Dtype::F32, 1, 1)]
        {
            let width = dtype.bitsize() / 8;
            let rows: Vec<u8> = (0..lanes * cols * width).map(|i| (i % 255) as u8 + 1).collect();
            let mut laid_out = vec![0xee; row_block_bytes(dtype, cols)];
            interleave(&rows, dtype, cols, |at, run| laid_out[at..][..run.len()].copy_from_slice(run));
            for (at, &byte) in laid_out.iter().enumerate() {
                let (vector, in_vector) = (at / VECTOR, at % VECTOR);
                let (lane, in_row) = (vector % LANES, vector / LANES * VECTOR + in_vector);
                // Words have this machine's byte order.
                let in_row = if cfg!(target_endian = "big") { in_row ^ 3 } else { in_row };
                let is_there = lane < lanes && in_row < cols * width;
                let wanted = if is_there { rows[lane * cols * width + in_row] } else { 0 };
                assert_eq!(byte, wanted, "{dtype} {at}");
            }
        }
    }
}
