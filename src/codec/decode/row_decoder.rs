//! Decoding rows of a payload of which only their row block, or some of its tiles, is in memory.

use std::ops::Range;

use super::decode_part::decode_part;
use super::part::{Part, TiledPayload};
use super::readers::Readers;
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::{Grid, LANES};
use crate::codec::payload::head::{Head, Kind, Shifts, Tiled};
use crate::tensor::Matrix;

/// Decodes single row blocks of a tiled payload whose bytes the caller reads.
pub struct RowDecoder {
    head: Head,
    readers: Readers,
}

impl std::fmt::Debug for RowDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowDecoder").field("head", &self.head).finish_non_exhaustive()
    }
}

impl RowDecoder {
    /// A decoder for the payload with this head.
    pub fn new(head: Head) -> Self {
        Self { head, readers: Readers::default() }
    }

    /// The payload's head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The byte ranges of the payload that row block `row_block` is decoded from, in the order that
    /// [`RowDecoder::decode`] expects. Empty if there are no row blocks, or fewer.
    pub fn ranges(&self, row_block: usize) -> Vec<Range<usize>> {
        match &self.head.kind {
            Kind::Tiled(tiled) if row_block < tiled.grid.row_blocks => {
                ranges(tiled, row_block, &(0..tiled.grid.col_tiles))
            }
            _ => Vec::new(),
        }
    }

    /// Writes the rows `lanes` of row block `row_block` to `out`; `lanes` are counted within the row block.
    /// `bytes` has the ranges of [`RowDecoder::ranges`], end to end.
    pub fn decode(
        &self,
        row_block: usize,
        lanes: Range<usize>,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        let Kind::Tiled(tiled) = &self.head.kind else { return Ok(()) };
        self.decode_tiles(row_block, lanes, 0..tiled.grid.col_tiles, bytes, out)
    }

    /// The byte ranges of the payload that tiles `col_tiles` of row block `row_block` are decoded from, in
    /// the order that [`RowDecoder::decode_tiles`] expects. The first tile's index must be even, so that it
    /// shares no word with the tile before.
    pub(crate) fn tile_ranges(&self, row_block: usize, col_tiles: &Range<usize>) -> Vec<Range<usize>> {
        match &self.head.kind {
            Kind::Tiled(tiled) => ranges(tiled, row_block, col_tiles),
            _ => Vec::new(),
        }
    }

    /// Like [`RowDecoder::decode`], for some tiles of the rows. `bytes` has the ranges of
    /// [`RowDecoder::tile_ranges`], end to end.
    pub(crate) fn decode_tiles(
        &self,
        row_block: usize,
        lanes: Range<usize>,
        col_tiles: Range<usize>,
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
        let stride = cols_of(&tiled.grid, &col_tiles) * tiled.unit_bytes();
        let expected = lanes.len() * stride;
        if out.len() != expected {
            return Err(CodecError::WrongOutput { expected, actual: out.len() });
        }
        let needed = ranges(tiled, row_block, &col_tiles).iter().map(Range::len).sum();
        if bytes.len() != needed {
            return Err(CodecError::Truncated { needed, actual: bytes.len() });
        }
        if lanes.is_empty() {
            return Ok(());
        }
        let alone = alone(tiled, row_block, &col_tiles);
        let from = TiledPayload { bytes, tiled: &alone, readers: &self.readers };
        let part = Part { row_block: 0, lanes, col_tiles: 0..col_tiles.len() };
        let decoded = decode_part(from, part, stride, out);
        decoded.map_err(|error| match error {
            CodecError::BadStream { row } => CodecError::BadStream { row: row_block * LANES + row },
            other => other,
        })
    }
}

/// Total columns of some tiles side by side.
fn cols_of(grid: &Grid, col_tiles: &Range<usize>) -> usize {
    grid.matrix.cols.min(col_tiles.end * grid.tile_cols) - col_tiles.start * grid.tile_cols
}

/// The ranges of the coded streams of some tiles of a row block, and then of each raw plane. If all tiles are
/// requested, they include the sections' padding.
fn ranges(tiled: &Tiled, row_block: usize, col_tiles: &Range<usize>) -> Vec<Range<usize>> {
    let grid = &tiled.grid;
    if *col_tiles == (0..grid.col_tiles) {
        let section = |section| tiled.section_of(section, row_block..row_block + 1);
        return (0..1 + tiled.planes.len()).map(section).collect();
    }
    let tile = |col_tile: usize| tiled.tile_parts(row_block * grid.col_tiles + col_tile);
    let (first, last) = (tile(col_tiles.start), tile(col_tiles.end.saturating_sub(1)));
    first.iter().zip(&last).map(|(first, last)| first.start..last.end).collect()
}

/// The description of a matrix that consists of some tiles of one row block, whose sections lie end to end
/// from byte 0 on.
fn alone(tiled: &Tiled, row_block: usize, col_tiles: &Range<usize>) -> Tiled {
    let grid = &tiled.grid;
    let matrix = Matrix { rows: grid.rows_in(row_block), cols: cols_of(grid, col_tiles) };
    let mut at = 0;
    let mut sections = ranges(tiled, row_block, col_tiles).into_iter().map(|range| {
        let start = at;
        at += range.len();
        start..at
    });
    let coded = sections.next().unwrap_or_default();
    let all = row_block * grid.col_tiles + col_tiles.start..row_block * grid.col_tiles + col_tiles.end;
    let mut tiles = tiled.tiles[all.clone()].to_vec();
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
        scaled: tiled.scaled.as_ref().map(|scaled| scaled.of_tiles(all)),
        tiles,
        group_row_blocks: 1,
        tables: Default::default(),
        coded,
        planes: sections.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Payload;
    use super::*;
    use crate::codec::encode::Encoder;
    use crate::codec::encode::{encode, encode_with_split};
    use crate::codec::payload::lossy::Lossy;
    use crate::codec::payload::split::Split;
    use crate::tensor::Dtype;

    /// Checks every pair of tiles, and the first and last lane, of every row block.
    fn check(payload: &[u8]) {
        let wanted = Payload::parse(payload).unwrap().decode().unwrap();
        let decoder = RowDecoder::new(Head::parse(payload).unwrap());
        let Kind::Tiled(tiled) = &decoder.head().kind else { panic!("not tiled") };
        let grid = &tiled.grid;
        assert!(grid.col_tiles > 2);
        for row_block in 0..grid.row_blocks {
            for first in (0..grid.col_tiles).step_by(2) {
                let col_tiles = first..(first + 2).min(grid.col_tiles);
                let ranges = decoder.tile_ranges(row_block, &col_tiles);
                let read: Vec<u8> = ranges.into_iter().flat_map(|range| payload[range].to_vec()).collect();
                let mut out = vec![0; cols_of(grid, &col_tiles) * tiled.unit_bytes()];
                for lane in [0, grid.rows_in(row_block) - 1] {
                    let lanes = lane..lane + 1;
                    decoder.decode_tiles(row_block, lanes, col_tiles.clone(), &read, &mut out).unwrap();
                    let start = (row_block * LANES + lane) * tiled.row_bytes()
                        + first * grid.tile_cols * tiled.unit_bytes();
                    assert!(out == wanted[start..start + out.len()], "{row_block}, {lane}, {col_tiles:?}");
                }
                let cut = &read[1..];
                assert!(decoder.decode_tiles(row_block, 0..1, col_tiles, cut, &mut out).is_err());
            }
        }
    }

    #[test]
    fn tiles_are_decoded_from_their_bytes_alone() {
        let bf16 = |i: usize| 0x3c00 | ((i * i * 40503) >> 7) as u16 & 0x81ff;
        let data: Vec<u8> = (0..70 * 3100).flat_map(|i| bf16(i).to_le_bytes()).collect();
        check(&encode(Dtype::BF16, &[70, 3100], &data).unwrap());
        for (kept, spare, coded) in [(2, 0, 4), (0, 0, 5), (2, 0, 0)] {
            let split = Split::new(Dtype::BF16, kept, spare, coded).unwrap();
            check(&encode_with_split(&[70, 3100], &data, split).unwrap());
        }
        let encoder = Encoder::default().rounding(Some(Lossy::new(3, 48).unwrap()));
        check(&encoder.encode(Dtype::BF16, &[70, 3100], &data).unwrap());
    }
}
