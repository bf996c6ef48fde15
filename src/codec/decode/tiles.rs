//! The offsets of a tile's streams in the payload, and of its elements in the output.

use super::part::{Part, TiledPayload};
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::LANES;

/// Decodes a part of a payload into `out`.
pub(crate) struct DecodeTiles<'a> {
    pub from: TiledPayload<'a>,
    pub part: Part,
    /// Distance in `out` from one lane's first byte to the next lane's.
    pub stride: usize,
    pub out: &'a mut [u8],
}

impl DecodeTiles<'_> {
    /// The offset of column `first` of a tile in each row's part of the output.
    #[inline(always)]
    pub fn place(&self, col_tile: usize, first: usize) -> usize {
        let tile = (col_tile - self.part.col_tiles.start) * self.from.tiled.grid.tile_cols;
        self.from.tiled.split.unit_bytes() * (tile + first)
    }

    /// Where each lane's stream starts, in bits from the start of the payload, and where the last one ends.
    /// All of them lie inside the tile.
    #[inline(always)]
    pub fn lane_starts(&self, tile: usize) -> Result<[usize; LANES + 1], CodecError> {
        let tiled = self.from.tiled;
        let entry = tiled.tiles[tile];
        let index = tiled.coded.start + 4 * entry.word as usize;
        let mut bit = 8 * (index + 4 * entry.index_words());
        let mut starts = [bit; LANES + 1];
        for lane in 0..tiled.grid.rows_in(self.part.row_block) {
            let more = match entry.wide {
                false => u16::from(self.from.bytes[index + lane]),
                true => u16::from_le_bytes([
                    self.from.bytes[index + 2 * lane],
                    self.from.bytes[index + 2 * lane + 1],
                ]),
            };
            bit += usize::from(entry.base_bits) + usize::from(more);
            starts[lane + 1] = bit;
        }
        let end = match tiled.tiles.get(tile + 1) {
            Some(next) => tiled.coded.start + 4 * next.word as usize,
            None => tiled.coded.end,
        };
        if bit > 8 * end {
            return Err(CodecError::BadStream { row: self.part.row_block * LANES });
        }
        Ok(starts)
    }
}
