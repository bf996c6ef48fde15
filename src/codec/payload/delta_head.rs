//! The description of a tensor that is stored as the difference to another one, its *base*.
//!
//! ```text
//! fixed part, base's BLAKE3 and length, frequencies, row masks, tile table, checksums | padding | coded plane
//! ```
//! `docs/format.md` has the byte offsets.

use std::ops::Range;

use super::checksum::checksum;
use super::error::CodecError;
use super::fixed_part::{DELTA, FIXED_LEN};
use super::frequencies::Frequencies;
use super::grid::{Grid, LANES, MAX_TILE_COLS};
use super::head_reader::{Front, parse_grid};
use super::nibbles::{NibbleReader, Nibbles};
use super::row_tables::RowMask;
use super::tables_reader::{Cursor, read_masks, read_tiles};
use super::tiled::{Tables, TileEntry};
use super::unit_format::UnitFormat;
use crate::tensor::{Dtype, Matrix};

/// Columns up to which rows are joined.
const JOINED_COLS: usize = 512;

/// Number of contexts of a difference.
pub(crate) const CONTEXTS: usize = 8;

/// Least differences of two ordered numbers that have no symbol of their own: an octave has two for each
/// sign.
pub(crate) const FIRST_OCTAVE: u32 = 3;

/// Number of symbols of differences that are smaller: 0, and 1 to 7 of both signs.
pub(crate) const SMALL: u16 = 15;

/// Number of symbols of the differences of elements of `bits` bits.
pub(crate) const fn symbols_of(bits: u32) -> usize {
    SMALL as usize + 4 * (bits - FIRST_OCTAVE) as usize
}

/// Whether tensors of `dtype` are stored as differences.
pub(crate) fn has_differences(dtype: Dtype) -> bool {
    UnitFormat::of(dtype).sign_bits == 1
}

/// The grid of a difference. Because each lane of each tile takes some bytes of its own, short rows are
/// joined, two by two, and tiles are as wide as several of those that the encoder makes of such a matrix.
pub(crate) fn delta_grid(mut matrix: Matrix) -> Grid {
    while matrix.rows.is_multiple_of(2) && 2 * matrix.cols <= JOINED_COLS {
        matrix = Matrix { rows: matrix.rows / 2, cols: 2 * matrix.cols };
    }
    let usual = Grid::for_matrix(matrix);
    Grid::with_tile_cols(matrix, usual.tile_cols * (MAX_TILE_COLS / usual.tile_cols).min(usual.col_tiles))
}

/// How the symbols of differences are coded: in the context of the exponent of the base's element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contexts {
    /// Largest exponent of the second context. Those above have the first, those below the ones behind it.
    pub(crate) top: u8,
    /// The frequencies of the symbols in each context.
    pub(crate) frequencies: Vec<Frequencies>,
}

/// A delta's head, checked for consistency and against the payload's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeltaHead {
    /// Element type of the tensor, and of its base.
    pub dtype: Dtype,
    /// Bytes of the original tensor.
    pub original_len: usize,
    /// BLAKE3 of the base's bytes.
    pub base: blake3::Hash,
    /// Bytes of the base. It is repeated where the tensor is longer.
    pub base_len: usize,
    /// The tiles.
    pub(crate) grid: Grid,
    /// Bytes of the head with its padding.
    pub(crate) len: usize,
    pub(crate) contexts: Contexts,
    /// Which rows differ from the base's, by row block.
    pub(crate) masks: Vec<RowMask>,
    pub(crate) tiles: Vec<TileEntry>,
    /// Row blocks that share a checksum.
    group_row_blocks: usize,
    /// The coded plane's bytes in the payload, padding included.
    pub(crate) coded: Range<usize>,
    checksums: Vec<u64>,
}

impl DeltaHead {
    /// Whether `payload` claims to be a difference.
    pub(crate) fn is_delta(payload: &[u8]) -> bool {
        payload.get(7) == Some(&DELTA)
    }

    /// Reads and checks the head of `payload`, which must be the whole payload.
    pub fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        Self::parse_front(payload, payload.len())
    }

    /// Like [`DeltaHead::parse`], for a payload of `actual` bytes; `payload` must contain at least its head.
    pub(crate) fn parse_front(payload: &[u8], actual: usize) -> Result<Self, CodecError> {
        let Front { fixed, version, dtype, len, payload_len } = Front::read(payload, actual)?;
        if fixed.0[7] != DELTA || version < 4 || !has_differences(dtype) {
            return Err(CodecError::BadHead("this is no difference of tensors"));
        }
        let original_len = fixed.len(32);
        let format = UnitFormat::of(dtype);
        let width = usize::from(format.unit_bytes);
        let grid = parse_grid(&fixed, width, original_len)?;
        let group_row_blocks = fixed.u32(56) as usize;
        if group_row_blocks == 0 {
            return Err(CodecError::BadHead("a checksum group has no row blocks"));
        }
        let mut rest = Cursor::new(&payload[..len], FIXED_LEN);
        let base =
            blake3::Hash::from_slice(rest.take(blake3::OUT_LEN)?).expect("as many bytes as a hash has");
        let base_len = rest.u64s(1)?[0];
        let base_len = usize::try_from(base_len).ok().filter(|&len| len > 0 && len.is_multiple_of(width));
        let base_len = base_len.ok_or(CodecError::BadHead("the base has no whole elements"))?;
        let contexts = read_contexts(&mut rest, fixed.0[50], 8 * u32::from(format.unit_bytes))?;
        let mut tables = Tables::default();
        let masks = read_masks(&mut rest, &grid, &mut tables)?;
        let tiles = read_tiles(&mut rest, &grid, &mut tables)?;
        let mut head = Self {
            dtype,
            original_len,
            base,
            base_len,
            grid,
            len,
            contexts,
            masks,
            tiles,
            group_row_blocks,
            coded: len..payload_len,
            checksums: Vec::new(),
        };
        head.check_tiles()?;
        head.checksums = rest.u64s(head.groups())?;
        Ok(head)
    }

    /// Number of checksum groups.
    pub(crate) fn groups(&self) -> usize {
        self.grid.row_blocks.div_ceil(self.group_row_blocks)
    }

    /// Compares the checksum of `group`, whose bytes these are.
    pub(crate) fn check_group(&self, group: usize, bytes: &[u8]) -> Result<(), CodecError> {
        match checksum(bytes) == self.checksums[group] {
            true => Ok(()),
            false => Err(CodecError::Checksum { section: "coded plane".into(), group: Some(group) }),
        }
    }

    /// The bytes in the payload of a checksum group.
    pub(crate) fn group_bytes(&self, group: usize) -> Range<usize> {
        let start = group * self.group_row_blocks;
        let end = start.saturating_add(self.group_row_blocks).min(self.grid.row_blocks);
        self.start_of(start * self.grid.col_tiles)..self.start_of(end * self.grid.col_tiles)
    }

    /// The checksum groups of some rows.
    pub(crate) fn groups_of(&self, rows: Range<usize>) -> Range<usize> {
        let rows_each = self.group_row_blocks.saturating_mul(LANES);
        rows.start / rows_each..rows.end.div_ceil(rows_each).min(self.groups())
    }

    /// The bytes in the payload of some rows, of whole row blocks.
    pub(crate) fn bytes_of(&self, rows: Range<usize>) -> Range<usize> {
        let tile = |row_block: usize| row_block * self.grid.col_tiles;
        self.start_of(tile(rows.start / LANES))..self.start_of(tile(rows.end.div_ceil(LANES)))
    }

    /// Rows that differ from the base's.
    pub(crate) fn changed_rows(&self) -> usize {
        self.masks.iter().map(RowMask::count).sum()
    }

    /// The byte in the payload where tile `tile` begins; that behind the last is where the plane ends.
    pub(crate) fn start_of(&self, tile: usize) -> usize {
        self.tiles.get(tile).map_or(self.coded.end, |tile| self.coded.start + 4 * tile.word as usize)
    }

    /// Bytes of the lane index of `tile`: a state for each lane that differs, then how many more bits than
    /// the shortest lane its stream has.
    pub(crate) fn index_bytes(&self, tile: usize) -> usize {
        let lanes = self.masks[tile / self.grid.col_tiles].count();
        index_bytes(lanes, self.tiles[tile].wide)
    }

    /// Checks that tiles follow each other inside the coded plane, each with room for its lane index.
    fn check_tiles(&self) -> Result<(), CodecError> {
        let mut free = self.coded.start;
        for tile in 0..self.tiles.len() {
            if self.start_of(tile) < free {
                return Err(CodecError::BadHead("tiles overlap"));
            }
            free = self.start_of(tile) + self.index_bytes(tile);
        }
        if free > self.coded.end || self.tiles.first().is_some_and(|tile| tile.word != 0) {
            return Err(CodecError::BadHead("tiles lie outside the coded plane"));
        }
        Ok(())
    }

    /// Bytes of a row of the original tensor.
    pub(crate) fn row_bytes(&self) -> usize {
        self.grid.matrix.cols * usize::from(UnitFormat::of(self.dtype).unit_bytes)
    }
}

/// Bytes of the lane index of a tile in which so many lanes differ.
pub(crate) fn index_bytes(lanes: usize, wide: bool) -> usize {
    (lanes * if wide { 3 } else { 2 }).next_multiple_of(4)
}

impl Contexts {
    /// The frequencies of all contexts: for each, whether they are those of the context before, or they
    /// themselves.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut numbers = Nibbles::default();
        for (context, frequencies) in self.frequencies.iter().enumerate() {
            let is_same = context > 0 && *frequencies == self.frequencies[context - 1];
            numbers.put(u16::from(is_same));
            if !is_same {
                frequencies.write(&mut numbers);
            }
        }
        numbers.finish()
    }
}

fn read_contexts(rest: &mut Cursor, top: u8, bits: u32) -> Result<Contexts, CodecError> {
    let bad = CodecError::BadHead("the frequencies of a context are not those of all states");
    let mut numbers = NibbleReader::new(|| Ok::<_, CodecError>(rest.take(1)?[0]));
    let mut frequencies: Vec<Frequencies> = Vec::with_capacity(CONTEXTS);
    for _ in 0..CONTEXTS {
        let is_same = numbers.number()?;
        let before = frequencies.last().filter(|_| is_same == 1).cloned();
        let context = match is_same {
            0 => Frequencies::read(symbols_of(bits), &mut numbers)?,
            _ => before,
        };
        frequencies.push(context.ok_or(bad.clone())?);
    }
    let read = numbers.bytes();
    rest.take(read.next_multiple_of(8) - read)?;
    Ok(Contexts { top, frequencies })
}
