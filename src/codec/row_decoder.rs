//! Decoding rows of a payload of which no more is at hand than the row block that they are in.

use std::ops::Range;

use super::decode_rows::{DecodeRows, Tables};
use super::error::CodecError;
use super::grid::{Grid, LANES};
use super::head::{Head, Kind, Shifts, Tiled};
use super::scaled::decode_rows;
use crate::tensor::Matrix;

/// Decodes single row blocks of a tiled payload that somebody else reads.
pub struct RowDecoder {
    head: Head,
    tables: Tables,
}

impl std::fmt::Debug for RowDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowDecoder").field("head", &self.head).finish_non_exhaustive()
    }
}

impl RowDecoder {
    /// For the payload that has this head.
    pub fn new(head: Head) -> Self {
        Self { head, tables: Tables::default() }
    }

    /// The payload's head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The bytes of the payload that row block `row_block` is decoded from, in the order in which
    /// [`RowDecoder::decode`] wants them. None where there are no row blocks, or not so many.
    pub fn ranges(&self, row_block: usize) -> Vec<Range<usize>> {
        match &self.head.kind {
            Kind::Tiled(tiled) if row_block < tiled.grid.row_blocks => ranges(tiled, row_block),
            _ => Vec::new(),
        }
    }

    /// Writes rows of row block `row_block` to `out`, those of `lanes`, counted within the row block.
    /// `bytes` is what [`RowDecoder::ranges`] names, end to end.
    pub fn decode(
        &self,
        row_block: usize,
        lanes: Range<usize>,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        let Kind::Tiled(tiled) = &self.head.kind else { return Ok(()) };
        let (start, end, rows) = (lanes.start, lanes.end, tiled.grid.matrix.rows);
        let here = rows.saturating_sub(row_block.saturating_mul(LANES)).min(LANES);
        if start > end || end > here {
            let first = row_block.saturating_mul(LANES);
            return Err(CodecError::NoSuchRows { start: first + start, end: first + end, rows });
        }
        let expected = lanes.len() * tiled.row_bytes();
        if out.len() != expected {
            return Err(CodecError::WrongOutput { expected, actual: out.len() });
        }
        let needed = ranges(tiled, row_block).iter().map(Range::len).sum();
        if bytes.len() != needed {
            return Err(CodecError::Truncated { needed, actual: bytes.len() });
        }
        if lanes.is_empty() {
            return Ok(());
        }
        let alone = alone(tiled, row_block);
        let (tables, stride, col_tiles) = (&self.tables, tiled.row_bytes(), 0..tiled.grid.col_tiles);
        let decoded = decode_rows(DecodeRows {
            bytes,
            tiled: &alone,
            tables,
            row_block: 0,
            lanes,
            col_tiles,
            stride,
            out,
        });
        decoded.map_err(|error| match error {
            CodecError::BadStream { row } => CodecError::BadStream { row: row_block * LANES + row },
            other => other,
        })
    }
}

/// The coded streams of a row block, and then its share of each raw plane.
fn ranges(tiled: &Tiled, row_block: usize) -> Vec<Range<usize>> {
    (0..1 + tiled.planes.len()).map(|section| tiled.section_of(section, row_block..row_block + 1)).collect()
}

/// What is said of a matrix that has no other rows than those of one row block, and whose sections lie end
/// to end, from byte 0 on.
fn alone(tiled: &Tiled, row_block: usize) -> Tiled {
    let grid = &tiled.grid;
    let matrix = Matrix { rows: grid.rows_in(row_block), cols: grid.matrix.cols };
    let mut at = 0;
    let mut sections = ranges(tiled, row_block).into_iter().map(|range| {
        let start = at;
        at += range.len();
        start..at
    });
    let coded = sections.next().unwrap_or_default();
    let mut tiles = tiled.tiles[row_block * grid.col_tiles..][..grid.col_tiles].to_vec();
    let first = tiles.first().map_or(0, |tile| tile.word);
    tiles.iter_mut().for_each(|tile| tile.word -= first);
    let mut masks = tiled.masks.get(row_block..row_block + 1).unwrap_or_default().to_vec();
    masks.iter_mut().for_each(|mask| mask.before = 0);
    let rows = tiled.shifts.rows.get(row_block * LANES..(row_block + 1) * LANES).unwrap_or_default().to_vec();
    Tiled {
        grid: Grid::with_tile_cols(matrix, grid.tile_cols),
        split: tiled.split,
        code: tiled.code.clone(),
        shifts: Shifts { rows, unit: tiled.shifts.unit },
        masks,
        scaled: tiled.scaled.as_ref().map(|scaled| scaled.of_row_blocks(grid, row_block..row_block + 1)),
        tiles,
        group_row_blocks: 1,
        tables: Default::default(),
        coded,
        planes: sections.collect(),
    }
}
