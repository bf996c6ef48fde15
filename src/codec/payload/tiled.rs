//! The description of a tiled tensor, and where its tiles lie in the payload.

use std::borrow::Cow;
use std::ops::Range;

use super::code::Code;
use super::grid::{CHUNK, Grid, LANES, SECTION_ALIGN};
use super::lossy::Lossy;
use super::precision::{Kept, Precision};
use super::row_tables::{RowMask, Shifts};
use super::scaled::Scaled;
use super::split::{BF16_CLEAN_BITS, Plane, Split};

/// A tile's entry in the tile table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileEntry {
    /// Offset of the tile's lane index, in words from the start of the coded plane.
    pub word: u32,
    /// Bits of the shortest lane stream. The lane index has each lane's excess.
    pub base_bits: u16,
    /// Whether the lane index has 16 bits per lane instead of 8.
    pub wide: bool,
}

impl TileEntry {
    /// Words of the lane index.
    pub fn index_words(&self) -> usize {
        if self.wide { LANES / 2 } else { LANES / 4 }
    }

    pub(crate) fn to_words(self) -> [u32; 2] {
        [self.word, u32::from(self.base_bits) | u32::from(self.wide) << 16]
    }

    pub(crate) fn from_words(word: u32, shape: u32) -> Option<Self> {
        (shape >> 17 == 0).then_some(Self { word, base_bits: shape as u16, wide: shape >> 16 == 1 })
    }
}

/// What a decoder needs to know about a tiled tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiled {
    /// The tiles, of units: see [`unit_matrix`](super::split::unit_matrix).
    pub grid: Grid,
    /// The position of each bit in a unit, or in a quotient if the tensor was rounded.
    pub split: Split,
    /// The code of the symbols.
    pub code: Code,
    /// The number to add to the symbols of each row; empty if rows are not shifted.
    pub shifts: Shifts,
    /// Which rows are stored in the sparse planes, by row block; empty if there are no such planes.
    pub masks: Vec<RowMask>,
    /// The scales of quotients; `None` if the tensor was not rounded.
    pub scaled: Option<Scaled>,
    /// Tiles by index.
    pub tiles: Vec<TileEntry>,
    /// Row blocks that share a checksum.
    pub group_row_blocks: usize,
    /// Where the tables lie in the payload.
    pub tables: Tables,
    /// The coded plane's bytes in the payload, padding included.
    pub coded: Range<usize>,
    /// The raw planes' bytes in the payload, padding included.
    pub planes: Vec<Range<usize>>,
}

/// Byte ranges of a head's tables in the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Row shifts: 32 bytes per row block, 4 bits per row.
    pub shifts: Range<usize>,
    /// Row masks: 16 bytes per row block.
    pub masks: Range<usize>,
    /// Scales: 128 bytes per tile.
    pub scales: Range<usize>,
    /// Tile table: 8 bytes per tile.
    pub tiles: Range<usize>,
}

/// The position of a lane of a row block in a raw plane, and the number of lanes there, which is the distance
/// from one word of a lane to its next. `None` if the row is clean and the plane sparse.
#[inline(always)]
pub(crate) fn plane_place(
    plane: &Plane,
    masks: &[RowMask],
    row_block: usize,
    lane: usize,
) -> Option<(usize, usize)> {
    match plane.is_sparse() {
        true => masks[row_block].place(lane).map(|place| (place, masks[row_block].count())),
        false => Some((lane, LANES)),
    }
}

/// Bytes of a raw plane's section, padding included; `None` if the number overflows.
pub(crate) fn plane_bytes(plane: &Plane, grid: &Grid, masks: &[RowMask]) -> Option<usize> {
    let lanes = match plane.is_sparse() {
        true => masks.last().map_or(0, |mask| mask.before as usize + mask.count()),
        false => LANES * grid.row_blocks,
    };
    let len = lanes.checked_mul(4 * grid.lane_words(usize::from(plane.width)))?;
    len.checked_next_multiple_of(SECTION_ALIGN)
}

impl Tiled {
    /// Number of checksum groups of each section.
    pub fn groups(&self) -> usize {
        self.grid.row_blocks.div_ceil(self.group_row_blocks)
    }

    /// The row blocks of checksum group `group`.
    pub fn group(&self, group: usize) -> Range<usize> {
        let start = group * self.group_row_blocks;
        start..(start + self.group_row_blocks).min(self.grid.row_blocks)
    }

    /// The byte range in the payload of the coded streams of `row_blocks`. The last row block's includes the
    /// section's padding.
    pub fn coded_of(&self, row_blocks: Range<usize>) -> Range<usize> {
        let at = |row_block: usize| match self.tiles.get(row_block * self.grid.col_tiles) {
            Some(tile) => self.coded.start + 4 * tile.word as usize,
            None => self.coded.end,
        };
        at(row_blocks.start)..at(row_blocks.end)
    }

    /// The part of the raw planes that is read in `precision`. Sparse planes in which no row is stored are
    /// always left out, without any loss. A tensor that was rounded is read completely.
    pub fn kept(&self, precision: Precision) -> Kept {
        let precision = if self.scaled.is_some() { Precision::Lossless } else { precision };
        let kept = precision.kept(&self.split);
        if self.split.clean_bits == 0 || self.masks.iter().any(|mask| mask.lanes != 0) {
            return kept;
        }
        let dense = self.split.planes().iter().filter(|plane| !plane.is_sparse()).count();
        match kept.planes >= dense {
            true => Kept { planes: dense, mantissa_bits: None, middle: false },
            false => kept,
        }
    }

    /// Bytes of the original tensor in a full row block.
    pub fn row_block_bytes(&self) -> usize {
        LANES * self.row_bytes()
    }

    /// Bytes of one row of the original tensor.
    pub fn row_bytes(&self) -> usize {
        self.grid.matrix.cols * self.unit_bytes()
    }

    /// Bytes of a decoded unit.
    pub(crate) fn unit_bytes(&self) -> usize {
        self.scaled.as_ref().map_or(self.split.unit_bytes(), Scaled::element_bytes)
    }

    /// How the tensor was rounded; `None` if it was not.
    pub fn lossy(&self) -> Option<Lossy> {
        self.scaled.as_ref().and_then(|_| Lossy::new(self.mantissa_bits(), self.grid.tile_cols).ok())
    }

    /// Mantissa bits of a quotient.
    fn mantissa_bits(&self) -> u8 {
        BF16_CLEAN_BITS + 1 - self.split.clean_bits
    }

    /// The decoded values of `rows` of the original tensor, which must be whole rows starting at row `first`.
    pub fn restored<'a>(&self, first: usize, rows: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.scaled {
            Some(scaled) => scaled.restored(&self.grid, self.mantissa_bits(), first, rows).into(),
            None => rows.into(),
        }
    }

    /// [`Tiled::coded_of`] for section 0, [`Tiled::plane_of`] for those after it.
    pub(crate) fn section_of(&self, section: usize, row_blocks: Range<usize>) -> Range<usize> {
        match section {
            0 => self.coded_of(row_blocks),
            _ => self.plane_of(section - 1, row_blocks),
        }
    }

    /// The byte range in the payload of raw plane `plane` of `row_blocks`. The last row block's includes the
    /// section's padding.
    pub fn plane_of(&self, plane: usize, row_blocks: Range<usize>) -> Range<usize> {
        let section = &self.planes[plane];
        let at = |row_block: usize| match row_block < self.grid.row_blocks {
            true => section.start + 4 * self.plane_word(plane, row_block),
            false => section.end,
        };
        at(row_blocks.start)..at(row_blocks.end)
    }

    /// The byte ranges in the payload of tile `tile`: in the coded plane, then in each raw plane. Empty if
    /// there is no such tile.
    pub(crate) fn tile_parts(&self, tile: usize) -> Vec<Range<usize>> {
        let word = |tile: usize| self.tiles.get(tile).map(|tile| self.coded.start + 4 * tile.word as usize);
        let Some(start) = word(tile) else { return Vec::new() };
        let mut parts = Vec::with_capacity(1 + self.planes.len());
        parts.push(start..word(tile + 1).unwrap_or(self.coded.end));
        let (row_block, col_tile) = (tile / self.grid.col_tiles, tile % self.grid.col_tiles);
        for (i, plane) in self.split.planes().iter().enumerate() {
            // A word that two tiles share is part of both ranges.
            let bits = |cols: usize| cols * usize::from(plane.width);
            let first = col_tile * self.grid.tile_cols;
            let end = (first + self.grid.cols_in(col_tile)).next_multiple_of(CHUNK);
            let lanes = 4 * self.plane_lanes(i, row_block);
            let start = self.planes[i].start + 4 * self.plane_word(i, row_block);
            parts.push(start + lanes * (bits(first) / 32)..start + lanes * bits(end).div_ceil(32));
        }
        parts
    }

    /// The index in raw plane `plane` of the first word of row block `row_block`.
    pub fn plane_word(&self, plane: usize, row_block: usize) -> usize {
        let plane = self.split.planes()[plane];
        let words = self.grid.lane_words(usize::from(plane.width));
        match plane.is_sparse() {
            true => self.masks[row_block].before as usize * words,
            false => row_block * LANES * words,
        }
    }

    /// Lanes of row block `row_block` in raw plane `plane`: the distance from one word of a lane to its next.
    pub fn plane_lanes(&self, plane: usize, row_block: usize) -> usize {
        match self.split.planes()[plane].is_sparse() {
            true => self.masks[row_block].count(),
            false => LANES,
        }
    }
}
