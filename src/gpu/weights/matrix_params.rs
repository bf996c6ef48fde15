//! The parameters of the part of a matrix that a kernel reads.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::codec::grid::{Grid, LANES};
use crate::codec::split::MAX_PLANES;
use crate::tensor::Matrix;

/// Columns of a chunk in the device's own layouts. Activations are padded to whole chunks.
pub const WIDE_CHUNK: usize = 32;

/// Columns of a span, whose products are summed before the next ones are added: one tile or two of those that
/// the encoder makes, so that it has whole chunks in every layout. It depends on the matrix alone, so that a
/// sum does not depend on the weights' layout.
pub(in crate::gpu) fn span_cols(matrix: Matrix) -> usize {
    let tile_cols = Grid::for_matrix(matrix).tile_cols;
    if tile_cols.is_multiple_of(WIDE_CHUNK) { tile_cols } else { 2 * tile_cols }
}

/// `Matrix` of `shaders/shared/matrix.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MatrixParams {
    pub(in crate::gpu) rows: u32,
    pub(in crate::gpu) cols: u32,
    pub(in crate::gpu) tile_cols: u32,
    pub(in crate::gpu) col_tiles: u32,
    pub(in crate::gpu) first_row: u32,
    pub(in crate::gpu) x_stride: u32,
    pub(in crate::gpu) y_stride: u32,
    pub(in crate::gpu) tiles_at: u32,
    pub(in crate::gpu) coded_at: u32,
    pub(in crate::gpu) planes_at: [u32; MAX_PLANES],
    pub(in crate::gpu) shifts_at: u32,
    pub(in crate::gpu) masks_at: u32,
    pub(in crate::gpu) shift_unit: u32,
    pub(in crate::gpu) window_mask: u32,
    pub(in crate::gpu) span_cols: u32,
    pub(in crate::gpu) spans: u32,
    pub(in crate::gpu) first_token: u32,
    pub(in crate::gpu) scales_at: u32,
    pub(in crate::gpu) words_at: u32,
    pub(in crate::gpu) table_at: u32,
    pub(in crate::gpu) first_block: u32,
    pub(in crate::gpu) wide_at: u32,
    /// Zeros whose value shader compilers do not know.
    zeros: [u32; 2],
}

impl MatrixParams {
    /// The part with these row blocks; fields that only dense tiles use are zero.
    pub(in crate::gpu) fn new(grid: &Grid, row_blocks: Range<usize>) -> Self {
        let first_row = row_blocks.start * LANES;
        let span_cols = span_cols(grid.matrix);
        let rows = (row_blocks.end * LANES).min(grid.matrix.rows) - first_row;
        Self {
            rows: rows as u32,
            cols: grid.matrix.cols as u32,
            tile_cols: grid.tile_cols as u32,
            col_tiles: grid.col_tiles as u32,
            first_row: first_row as u32,
            span_cols: span_cols as u32,
            spans: grid.matrix.cols.div_ceil(span_cols) as u32,
            ..Self::zeroed()
        }
    }

    /// The part with these row blocks, in a layout without tiles: each span counts as one.
    pub(in crate::gpu) fn untiled(grid: &Grid, row_blocks: Range<usize>) -> Self {
        let mut params = Self::new(grid, row_blocks);
        params.tile_cols = params.span_cols;
        params.col_tiles = params.spans;
        params
    }

    /// The first `count` row blocks of the same part, or all if there are fewer.
    pub(in crate::gpu) fn first_row_blocks(self, count: u32) -> Self {
        Self { rows: self.rows.min(count * LANES as u32), ..self }
    }

    /// The parameters of the weights that these are widened to, which begin at vector `wide_at`. Each span
    /// counts as a tile, as in all layouts without tiles.
    pub(in crate::gpu) fn widened(self, wide_at: u32) -> Self {
        let Self { rows, cols, first_row, span_cols, spans, first_block, .. } = self;
        let (tile_cols, col_tiles, words_at) = (span_cols, spans, wide_at);
        Self {
            rows,
            cols,
            tile_cols,
            col_tiles,
            first_row,
            span_cols,
            spans,
            words_at,
            first_block,
            ..Self::zeroed()
        }
    }

    /// Weights of the part, padding rows included.
    pub(in crate::gpu) fn weights(&self) -> u64 {
        u64::from(self.row_blocks()) * LANES as u64 * u64::from(self.cols)
    }

    /// Row blocks of the part.
    pub(in crate::gpu) fn row_blocks(&self) -> u32 {
        self.rows.div_ceil(LANES as u32)
    }
}
