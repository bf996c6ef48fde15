//! Tensors that were rounded: quotients, and the scales that multiply them.

use std::ops::Range;

use super::grid::{Grid, LANES};
use super::quotient::{divide, multiply};
use crate::tensor::Dtype;

/// The description of a rounded tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaled {
    /// The tensor's type. Its tiles contain BF16.
    pub dtype: Dtype,
    /// The scales, each a BF16 that is zero or positive, finite and not subnormal: 64 for each tile, one per
    /// lane. Lanes that do not exist have zero.
    pub scales: Vec<u16>,
}

impl Scaled {
    /// Bytes of an element.
    pub(crate) fn element_bytes(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// The quotients of `rows`, as a matrix of BF16. The first of them is row `first` of the matrix.
    pub(crate) fn quotients(&self, grid: &Grid, mantissa_bits: u8, first: usize, rows: &[u8]) -> Vec<u8> {
        let width = self.element_bytes();
        let mut quotients = vec![0; rows.len() / width * 2];
        for (i, (row, out)) in rows
            .chunks_exact(width * grid.matrix.cols)
            .zip(quotients.chunks_exact_mut(2 * grid.matrix.cols))
            .enumerate()
        {
            let blocks = row.chunks(width * grid.tile_cols).zip(out.chunks_mut(2 * grid.tile_cols));
            for (tile, (block, out)) in blocks.enumerate() {
                let scale = self.scale(grid, first + i, tile);
                divide(self.dtype, block, scale, mantissa_bits, out);
            }
        }
        quotients
    }

    /// The decoded values of `rows` of the original. The first of them is row `first` of the matrix.
    pub(crate) fn restored(&self, grid: &Grid, mantissa_bits: u8, first: usize, rows: &[u8]) -> Vec<u8> {
        let quotients = self.quotients(grid, mantissa_bits, first, rows);
        let mut restored = vec![0; rows.len()];
        let width = self.element_bytes();
        for (i, (row, out)) in quotients
            .chunks_exact(2 * grid.matrix.cols)
            .zip(restored.chunks_exact_mut(width * grid.matrix.cols))
            .enumerate()
        {
            let blocks = row.chunks(2 * grid.tile_cols).zip(out.chunks_mut(width * grid.tile_cols));
            for (tile, (block, out)) in blocks.enumerate() {
                multiply(self.dtype, block, self.scale(grid, first + i, tile), out);
            }
        }
        restored
    }

    /// The scale of the block of `row` in the tiles of column `tile`.
    pub(crate) fn scale(&self, grid: &Grid, row: usize, tile: usize) -> u16 {
        self.scales[(row / LANES * grid.col_tiles + tile) * LANES + row % LANES]
    }

    /// The scales of only these tiles, counted through all row blocks.
    pub(crate) fn of_tiles(&self, tiles: Range<usize>) -> Self {
        Self { dtype: self.dtype, scales: self.scales[LANES * tiles.start..LANES * tiles.end].to_vec() }
    }
}
