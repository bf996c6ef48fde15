//! Uncompressed BF16 weights to F32, row by row.

use bytemuck::{Pod, Zeroable};

use super::elements::workgroups;
use crate::codec::grid::LANES;
use crate::gpu::weights::WIDE_CHUNK;
use crate::gpu::{Bound, Buffer, Dispatch, Gpu, GpuError, Variant};

/// A piece of a matrix: `Wide` of `shaders/shared/wide_vectors.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct WidePiece {
    /// Rows of the piece.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Its first row in the matrix.
    pub first_row: u32,
    /// The number of the tensor.
    pub tensor: u32,
    /// The vector of four words that the piece begins with.
    pub words_at: u32,
    /// Zeros.
    pub unused: [u32; 3],
}

impl WidePiece {
    /// Vectors of eight weights, of whole row blocks.
    pub(super) fn vectors(&self) -> usize {
        let cols = (self.columns as usize).next_multiple_of(WIDE_CHUNK);
        (self.rows as usize).next_multiple_of(LANES) * cols / 8
    }
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("unpack")
}

/// Unpacks `words`.
pub fn dispatch(
    gpu: &Gpu,
    params: &WidePiece,
    words: Bound<'_>,
    unpacked: &Buffer,
) -> Result<Dispatch, GpuError> {
    let buffers = [(2, words), (3, Bound::from(unpacked))];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, workgroups(params.vectors()))
}

/// The twin, for the words of row blocks as [`interleave`](crate::gpu::weights::layouts::raw::interleave) has them.
pub fn cpu(params: &WidePiece, words: &[u32]) -> Vec<f32> {
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    let row_vectors = columns.next_multiple_of(WIDE_CHUNK) / 8;
    let element = |row: usize, col: usize| {
        let vector = (row / LANES * row_vectors + col / 8) * LANES + row % LANES;
        let word = words[4 * (params.words_at as usize + vector) + col % 8 / 2];
        f32::from_bits(if col.is_multiple_of(2) { word << 16 } else { word & 0xffff_0000 })
    };
    (0..rows).flat_map(|row| (0..columns).map(move |col| element(row, col))).collect()
}
