//! A tensor that is encoded in tiles, and its division into pieces.

use std::ops::Range;

use super::coder::Coder;
use super::group::{EncodeGroup, Group, Sections};
use super::pieces::Piece;
use super::spare::{KEPT_GROUPS, Spare};
use crate::codec::payload::groups::group_row_blocks;
use crate::codec::payload::head_writer::HeadWriter;
use crate::codec::payload::tiled::plane_bytes;
use crate::codec::plan::choosing::Plan;
use crate::codec::plan::source_rows::SourceRows;
use crate::codec::simd;

/// Maximum bytes of raw planes that are kept until they can be written.
const KEPT_BYTES: usize = 16 << 20;

/// Approximate units of a piece of a row block that is too long to be encoded in one step.
const PIECE_UNITS: usize = 4 << 20;

/// Pieces that are encoded together. They are few, so that they are written while in the cache, and their
/// memory is reused for the next ones.
pub(crate) fn together() -> usize {
    2 * rayon::current_num_threads()
}

/// A tensor that is being encoded.
pub(crate) struct Tensor<'a> {
    pub spare: &'a Spare,
    pub code: u8,
    pub source: &'a SourceRows<'a>,
    pub coder: Coder,
}

impl Tensor<'_> {
    /// The head up to the row masks and the tile table.
    pub fn head(&self, plan: &Plan) -> HeadWriter {
        let mut writer = HeadWriter::new(self.code, self.source.original_len());
        writer.tiled(&self.coder.grid, &self.coder.split, &plan.code, &self.coder.shifts);
        writer
    }

    /// Bytes of the whole head.
    pub fn head_len(&self, plan: &Plan) -> usize {
        let grid = &self.coder.grid;
        let sums = self.groups() * (1 + self.coder.split.planes().len());
        // In multiples of 8 bytes: a tile takes one, a row mask two, and four scales take one.
        let scales = self.source.rounding().map_or(0, |rounding| rounding.scaled.scales.len() / 4);
        let tiles = grid.row_blocks * grid.col_tiles;
        self.head(plan).padded_len(tiles + 2 * self.coder.masks.len() + scales + sums)
    }

    /// Whether the raw planes are made together with the coded plane, and kept until its length is known. For
    /// larger tensors they are made in a second pass.
    pub fn at_once(&self) -> bool {
        self.groups() <= KEPT_GROUPS && self.plane_ends(0).last().is_none_or(|&end| end <= KEPT_BYTES)
    }

    /// Number of checksum groups of each section.
    pub fn groups(&self) -> usize {
        self.coder.grid.row_blocks.div_ceil(group_row_blocks(&self.coder.grid))
    }

    /// All groups, in pieces.
    pub fn pieces(&self) -> Vec<Piece> {
        let grid = &self.coder.grid;
        let many = group_row_blocks(grid);
        let mut pieces = Vec::new();
        for group in 0..self.groups() {
            let row_blocks = group * many..((group + 1) * many).min(grid.row_blocks);
            let is_last = group + 1 == self.groups();
            for col_tiles in self.col_tiles(&row_blocks) {
                let ends = col_tiles.end == grid.col_tiles;
                let is_whole = col_tiles.len() == grid.col_tiles;
                let (row_blocks, is_last) = (row_blocks.clone(), is_last && ends);
                pieces.push(Piece { row_blocks, col_tiles, is_whole, ends_group: ends, is_last });
            }
        }
        pieces
    }

    /// Divides the tiles of `row_blocks`, a group, into pieces. Each has an even number of tiles, so that it
    /// begins at a whole word of every plane. Quotients are always made row block by row block.
    fn col_tiles(&self, row_blocks: &Range<usize>) -> Vec<Range<usize>> {
        let grid = &self.coder.grid;
        let most = PIECE_UNITS / (grid.rows_in(row_blocks.start) * grid.tile_cols) / 2 * 2;
        let most =
            if row_blocks.len() > 1 || self.source.rounding().is_some() { usize::MAX } else { most.max(2) };
        let starts = (0..grid.col_tiles).step_by(most);
        starts.map(|start| start..start.saturating_add(most).min(grid.col_tiles)).collect()
    }

    /// Makes some sections of `piece`.
    pub fn encode(&self, piece: &Piece, sections: Sections) -> Group {
        let Piece { row_blocks, col_tiles, .. } = piece.clone();
        let rows = self.source.row_blocks(row_blocks.clone());
        let (coder, rows, group) = (&self.coder, &rows[..], self.spare.take());
        simd::run(EncodeGroup { coder, row_blocks, col_tiles, rows, sections, group })
    }

    /// Where each raw plane ends, if the first begins at `start`.
    pub fn plane_ends(&self, start: usize) -> Vec<usize> {
        let mut end = start;
        let ends = self.coder.split.planes().iter().map(|plane| {
            let bytes = plane_bytes(plane, &self.coder.grid, &self.coder.masks);
            end += bytes.expect("planes are no larger than the tensor");
            end
        });
        ends.collect()
    }
}
