//! What a kernel is told about the part of a matrix that it reads.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::layouts::fast;
use super::layouts::format::{Format, WIDE_CHUNK};
use super::layouts::raw;
use crate::codec::grid::{CHUNK, Grid, LANES};
use crate::codec::split::MAX_PLANES;
use crate::tensor::Matrix;

/// Words of a row block in the table of row shifts.
const SHIFT_WORDS: u32 = LANES as u32 / 8;

/// Words of a row block in the table of row masks.
const MASK_WORDS: u32 = 4;

/// Words of a tile in the table of scales.
const SCALE_WORDS: u32 = LANES as u32 / 2;

/// Columns that products sum as one before they add the next ones: a tile, or two, of those that the encoder
/// makes, so that it is whole chunks of every layout. It is the matrix's own, so that a sum does not depend
/// on how the weights are stored.
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
    /// Zeros, which shaders do not know to be so.
    zeros: [u32; 2],
}

impl MatrixParams {
    /// The part that has these row blocks; what is particular to dense tiles is zero.
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

    /// The part that has these row blocks, in a layout that has no tiles: each span is one.
    pub(in crate::gpu) fn untiled(grid: &Grid, row_blocks: Range<usize>) -> Self {
        let mut params = Self::new(grid, row_blocks);
        params.tile_cols = params.span_cols;
        params.col_tiles = params.spans;
        params
    }

    /// The same part with a tile for every chunk, where the layout has no tiles of its own: several may
    /// be read at once.
    pub(in crate::gpu) fn in_chunks(mut self, format: Format) -> Self {
        if !matches!(format, Format::Dense(_)) {
            self.tile_cols = WIDE_CHUNK as u32;
            self.col_tiles = self.cols.div_ceil(WIDE_CHUNK as u32);
        }
        self
    }

    /// The same part without its first row blocks. Tables and planes are found by row block, so the
    /// offsets move along; but what a row block has in a sparse plane is found through its mask.
    pub(in crate::gpu) fn skip_row_blocks(mut self, count: u32, format: Format) -> Self {
        self.rows -= count * LANES as u32;
        self.first_row += count * LANES as u32;
        let dense = match format {
            Format::Dense(dense) => dense,
            Format::Fast(_) => {
                self.words_at += count * fast::row_block_vectors(self.cols);
                self.table_at += count * fast::LOWEST_WORDS as u32;
                self.tiles_at += count;
                return self;
            }
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => {
                let bytes = raw::row_block_bytes(format.dtype(), self.cols as usize);
                self.words_at += count * (bytes / 16) as u32;
                return self;
            }
        };
        let padded_cols = self.cols.next_multiple_of(CHUNK as u32);
        self.tiles_at += 2 * count * self.col_tiles;
        self.shifts_at += count * SHIFT_WORDS;
        self.masks_at += count * MASK_WORDS;
        self.scales_at += count * self.col_tiles * SCALE_WORDS;
        for (at, plane) in self.planes_at.iter_mut().zip(dense.split.planes()).filter(|(_, p)| !p.is_sparse())
        {
            *at += count * LANES as u32 * (padded_cols * u32::from(plane.width)).div_ceil(32);
        }
        self
    }

    /// The first `count` row blocks of the same part, or all where there are not so many.
    pub(in crate::gpu) fn first_row_blocks(self, count: u32) -> Self {
        Self { rows: self.rows.min(count * LANES as u32), ..self }
    }

    /// What kernels are told about the weights that these are widened to, where those begin at vector
    /// `wide_at`. A span is a tile, as of all that has no tiles.
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

    /// Weights of the part, padding rows among them.
    pub(in crate::gpu) fn weights(&self) -> u64 {
        u64::from(self.row_blocks()) * LANES as u64 * u64::from(self.cols)
    }

    /// The same part where its words begin at byte `at` of a buffer, and what is beside them at word `table`
    /// of a table, behind `first_block` row blocks of other matrices.
    pub(in crate::gpu) fn moved(mut self, format: Format, at: u64, table: u32, first_block: u32) -> Self {
        match format {
            Format::Dense(_) => {
                // Some are differences modulo 2³².
                let offsets = [
                    &mut self.tiles_at,
                    &mut self.coded_at,
                    &mut self.shifts_at,
                    &mut self.masks_at,
                    &mut self.scales_at,
                ];
                for offset in offsets.into_iter().chain(&mut self.planes_at) {
                    *offset = offset.wrapping_add((at / 4) as u32);
                }
            }
            Format::Fast(_) => {
                self.tiles_at += table;
                self.coded_at += table;
                self.words_at = (at / 16) as u32;
            }
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => self.words_at = (at / 16) as u32,
        }
        Self { table_at: table, first_block, ..self }
    }

    /// Row blocks of the part.
    pub(in crate::gpu) fn row_blocks(&self) -> u32 {
        self.rows.div_ceil(LANES as u32)
    }
}
