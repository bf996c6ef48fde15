//! Reading the tables of a tiled payload's head, which may be from an untrusted file.

use super::code::Code;
use super::error::CodecError;
use super::grid::{Grid, LANES};
use super::row_tables::{RowMask, Shifts};
use super::split::Split;
use super::tiled::{Tables, TileEntry};

/// A bounds-checked reader over the head.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A reader that starts at byte `at` of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let end = self.at.checked_add(len);
        let slice = end.and_then(|end| self.bytes.get(self.at..end));
        let slice = slice.ok_or(CodecError::BadHead("tables are longer than the head"))?;
        self.at += len;
        Ok(slice)
    }

    /// The next `count` numbers of 64 bits.
    pub fn u64s(&mut self, count: usize) -> Result<Vec<u64>, CodecError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect())
    }
}

/// Reads the code of `count` symbols from `first` on.
pub(crate) fn read_code(
    rest: &mut Cursor,
    split: &Split,
    first: u16,
    count: usize,
    escape: u8,
) -> Result<Code, CodecError> {
    if count == 0 || usize::from(first) + count > 1 << split.symbol_bits() {
        return Err(CodecError::BadHead("symbols outside the alphabet"));
    }
    let packed = rest.take(count.div_ceil(2).next_multiple_of(8))?;
    let code = Code { first, lengths: nibbles(packed).take(count).collect(), escape };
    if !code.is_usable() {
        return Err(CodecError::BadHead("the code lengths do not form a complete code"));
    }
    Ok(code)
}

/// 4-bit numbers, two per byte, the first in the low half.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().flat_map(|b| [b & 15, b >> 4])
}

/// Reads the number to add to the symbols of each row, which is moved left by `unit` bits.
pub(crate) fn read_shifts(
    rest: &mut Cursor,
    grid: &Grid,
    split: &Split,
    unit: u8,
    tables: &mut Tables,
) -> Result<Shifts, CodecError> {
    if u32::from(unit) >= split.symbol_bits() {
        return Err(CodecError::BadHead("invalid row shifts"));
    }
    let start = rest.at;
    let rows = nibbles(rest.take(grid.row_blocks.saturating_mul(LANES / 2))?).collect();
    tables.shifts = start..rest.at;
    Ok(Shifts { rows, unit })
}

/// Reads which rows of each row block are not clean.
pub(crate) fn read_masks(
    rest: &mut Cursor,
    grid: &Grid,
    tables: &mut Tables,
) -> Result<Vec<RowMask>, CodecError> {
    let start = rest.at;
    let words = rest.u64s(grid.row_blocks.saturating_mul(2))?;
    let mut before = 0;
    let mut masks = Vec::with_capacity(grid.row_blocks);
    for (row_block, pair) in words.chunks_exact(2).enumerate() {
        let lanes = pair[0];
        let beyond = grid.rows_in(row_block) < LANES && lanes >> grid.rows_in(row_block) != 0;
        if beyond || pair[1] != u64::from(before) {
            return Err(CodecError::BadHead("row masks do not match the rows"));
        }
        masks.push(RowMask { lanes, before });
        before += lanes.count_ones();
    }
    tables.masks = start..rest.at;
    Ok(masks)
}

/// Reads the scales of all tiles.
pub(crate) fn read_scales(
    rest: &mut Cursor,
    grid: &Grid,
    tables: &mut Tables,
) -> Result<Vec<u16>, CodecError> {
    let start = rest.at;
    let count = grid.col_tiles.checked_mul(grid.row_blocks).and_then(|n| n.checked_mul(2 * LANES));
    let bytes = rest.take(count.ok_or(CodecError::BadHead("too many tiles"))?)?;
    let scales: Vec<u16> = bytes.as_chunks().0.iter().map(|&scale| u16::from_le_bytes(scale)).collect();
    tables.scales = start..rest.at;
    match scales.iter().all(|&scale| scale == 0 || (0x0080..0x7f80).contains(&scale)) {
        true => Ok(scales),
        false => Err(CodecError::BadHead("a scale is negative, subnormal or not finite")),
    }
}

/// Reads the tile table.
pub(crate) fn read_tiles(
    rest: &mut Cursor,
    grid: &Grid,
    tables: &mut Tables,
) -> Result<Vec<TileEntry>, CodecError> {
    let count = grid.col_tiles.checked_mul(grid.row_blocks).and_then(|n| n.checked_mul(8));
    let start = rest.at;
    let bytes = rest.take(count.ok_or(CodecError::BadHead("too many tiles"))?)?;
    let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
    let tiles: Option<Vec<_>> =
        bytes.chunks_exact(8).map(|b| TileEntry::from_words(word(&b[..4]), word(&b[4..]))).collect();
    tables.tiles = start..rest.at;
    tiles.ok_or(CodecError::BadHead("unknown flags in the tile table"))
}
