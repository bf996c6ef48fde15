//! Parameters of parts whose offsets depend on the layout.

use super::Format;
use crate::codec::grid::LANES;
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};

impl MatrixParams {
    /// The same part with one tile per chunk if reading can begin with any, so that several can be read in
    /// parallel.
    pub(in crate::gpu) fn in_chunks(mut self, format: Format) -> Self {
        if format.layout().begins_anywhere() {
            self.tile_cols = WIDE_CHUNK as u32;
            self.col_tiles = self.cols.div_ceil(WIDE_CHUNK as u32);
        }
        self
    }

    /// The same part without its first row blocks.
    pub(in crate::gpu) fn skip_row_blocks(mut self, count: u32, format: Format) -> Self {
        self.rows -= count * LANES as u32;
        self.first_row += count * LANES as u32;
        format.layout().skip_row_blocks(&mut self, count);
        self
    }

    /// The same part, with its words at byte `at` of a buffer, and its table at word `table`, after
    /// `first_block` row blocks of other matrices.
    pub(in crate::gpu) fn moved(mut self, format: Format, at: u64, table: u32, first_block: u32) -> Self {
        format.layout().move_to(&mut self, at, table);
        (self.table_at, self.first_block) = (table, first_block);
        self
    }
}
