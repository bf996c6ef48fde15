//! What is written about a tensor at the front of its payload.
//!
//! ```text
//! fixed part, code lengths, tile table, checksums | padding | coded plane | raw plane 0 | raw plane 1 …   tiled
//! fixed part, checksums                           | padding | data                                        raw
//! ```
//! Every section starts on a multiple of 256 bytes from the start of the payload and is padded
//! with zeros to the next. All numbers are little-endian. `docs/format.md` has the byte offsets.

use std::ops::Range;

use super::checksum::checksum;
use super::error::CodecError;
use super::grid::{Grid, LANES, MAX_TILE_COLS, SECTION_ALIGN};
use super::huffman;
use super::split::Split;
use crate::tensor::{Dtype, Matrix};

/// The version this program writes, and the newest it reads.
pub const VERSION: u16 = 1;

pub(super) const MAGIC: [u8; 4] = *b"BTM\0";
/// Bytes before the code lengths.
pub(super) const FIXED_LEN: usize = 64;
const CHECKSUM_AT: usize = 24;

/// Elements (raw payloads: bytes) that share a checksum, about.
pub(super) const GROUP_ELEMENTS: usize = 1 << 20;

/// What a tile's table entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileEntry {
    /// Where the tile's lane index begins, in words from the start of the coded plane.
    pub word: u32,
    /// Bits of the shortest lane stream; the lane index gives what each lane has more.
    pub base_bits: u16,
    /// Whether the lane index has 16 bits a lane instead of 8.
    pub wide: bool,
}

impl TileEntry {
    /// Words of the lane index.
    pub fn index_words(&self) -> usize {
        if self.wide { LANES / 2 } else { LANES / 4 }
    }

    pub(super) fn to_words(self) -> [u32; 2] {
        [self.word, u32::from(self.base_bits) | u32::from(self.wide) << 16]
    }

    fn from_words(word: u32, shape: u32) -> Option<Self> {
        (shape >> 17 == 0).then_some(Self { word, base_bits: shape as u16, wide: shape >> 16 == 1 })
    }
}

/// How the elements are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// As they are.
    Raw,
    /// In tiles.
    Tiled(Tiled),
}

/// What a decoder needs to know about a tiled tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiled {
    /// The tiles.
    pub grid: Grid,
    /// Which bits are where.
    pub split: Split,
    /// The smallest symbol that occurs.
    pub first_symbol: u16,
    /// Code lengths from `first_symbol` on; one of length 0 alone is an alphabet of one symbol.
    pub lengths: Vec<u8>,
    /// Tiles by index.
    pub tiles: Vec<TileEntry>,
    /// Row blocks that share a checksum.
    pub group_row_blocks: usize,
    /// Where the tile table stands in the payload: two words a tile.
    pub tile_table: Range<usize>,
    /// The coded plane's bytes in the payload, padding included.
    pub coded: Range<usize>,
    /// The raw planes' bytes in the payload.
    pub planes: Vec<Range<usize>>,
}

impl Tiled {
    /// Original bytes of a full row block.
    pub fn row_block_bytes(&self) -> usize {
        LANES * 2 * self.grid.matrix.cols
    }

    /// Number of checksum groups of each section.
    pub fn groups(&self) -> usize {
        self.grid.row_blocks.div_ceil(self.group_row_blocks)
    }

    /// The row blocks of checksum group `group`.
    pub fn group(&self, group: usize) -> Range<usize> {
        let start = group * self.group_row_blocks;
        start..(start + self.group_row_blocks).min(self.grid.row_blocks)
    }

    /// Bytes of the payload that hold the coded streams of `row_blocks`; the section's padding
    /// belongs to the last.
    pub fn coded_of(&self, row_blocks: Range<usize>) -> Range<usize> {
        let at = |row_block: usize| match self.tiles.get(row_block * self.grid.col_tiles) {
            Some(tile) => self.coded.start + 4 * tile.word as usize,
            None => self.coded.end,
        };
        at(row_blocks.start)..at(row_blocks.end)
    }

    /// Bytes of the payload that hold raw plane `plane` of `row_blocks`.
    pub fn plane_of(&self, plane: usize, row_blocks: Range<usize>) -> Range<usize> {
        let block = self.grid.row_block_bytes(usize::from(self.split.planes()[plane]));
        let start = self.planes[plane].start;
        start + row_blocks.start * block..start + row_blocks.end * block
    }
}

/// A payload's head, checked against the payload's length and against itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Element type of the tensor.
    pub dtype: Dtype,
    /// Bytes of the original tensor.
    pub original_len: usize,
    /// Bytes of the head with its padding: where the first section begins.
    pub len: usize,
    /// How it is stored.
    pub kind: Kind,
    checksums: Vec<u64>,
}

/// Row blocks that share a checksum.
pub(super) fn group_row_blocks(grid: &Grid) -> usize {
    (GROUP_ELEMENTS / (LANES * grid.padded_cols.max(1))).max(1)
}

fn raw_groups(len: usize) -> usize {
    len.div_ceil(GROUP_ELEMENTS)
}

/// Dtype codes in the head. Never reuse a number.
const DTYPES: [(Dtype, u8); 22] = [
    (Dtype::BOOL, 1),
    (Dtype::U8, 2),
    (Dtype::I8, 3),
    (Dtype::F8_E5M2, 4),
    (Dtype::F8_E4M3, 5),
    (Dtype::I16, 6),
    (Dtype::U16, 7),
    (Dtype::F16, 8),
    (Dtype::BF16, 9),
    (Dtype::I32, 10),
    (Dtype::U32, 11),
    (Dtype::F32, 12),
    (Dtype::F64, 13),
    (Dtype::I64, 14),
    (Dtype::U64, 15),
    (Dtype::F4, 16),
    (Dtype::F6_E2M3, 17),
    (Dtype::F6_E3M2, 18),
    (Dtype::F8_E8M0, 19),
    (Dtype::F8_E4M3FNUZ, 20),
    (Dtype::F8_E5M2FNUZ, 21),
    (Dtype::C64, 22),
];

/// The head's number for `dtype`; `None` for a type this version does not know.
pub(super) fn dtype_code(dtype: Dtype) -> Option<u8> {
    DTYPES.iter().find(|(d, _)| *d == dtype).map(|&(_, code)| code)
}

/// Builds a head while a payload is written.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new(dtype_code: u8, original_len: usize) -> Self {
        let mut bytes = vec![0; FIXED_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6] = dtype_code;
        bytes[32..40].copy_from_slice(&(original_len as u64).to_le_bytes());
        Self { bytes }
    }

    /// Describes a tiled tensor. The tile table is filled in by [`Writer::tiles`].
    pub fn tiled(&mut self, grid: &Grid, split: &Split, first_symbol: u16, lengths: &[u8]) {
        let b = &mut self.bytes;
        b[7] = 1;
        b[40..44].copy_from_slice(&(grid.matrix.rows as u32).to_le_bytes());
        b[44..48].copy_from_slice(&(grid.matrix.cols as u32).to_le_bytes());
        b[48..50].copy_from_slice(&(grid.tile_cols as u16).to_le_bytes());
        b[50] = split.top_bits;
        b[52..54].copy_from_slice(&first_symbol.to_le_bytes());
        b[54..56].copy_from_slice(&(lengths.len() as u16).to_le_bytes());
        b[56..60].copy_from_slice(&(group_row_blocks(grid) as u32).to_le_bytes());
        b.extend(lengths.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4));
        b.resize(b.len().next_multiple_of(8), 0);
    }

    pub fn tiles(&mut self, tiles: &[TileEntry]) {
        self.bytes.extend(tiles.iter().flat_map(|t| t.to_words()).flat_map(u32::to_le_bytes));
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the finished head when `checksums` more are added to what has been written.
    pub fn padded_len(&self, checksums: usize) -> usize {
        (self.bytes.len() + 8 * checksums).next_multiple_of(SECTION_ALIGN)
    }

    /// The finished head for a payload of `payload_len` bytes in all.
    pub fn finish(mut self, checksums: &[u64], payload_len: usize) -> Vec<u8> {
        let len = self.padded_len(checksums.len());
        self.bytes.extend(checksums.iter().flat_map(|c| c.to_le_bytes()));
        self.bytes.resize(len, 0);
        self.bytes[8..16].copy_from_slice(&(payload_len as u64).to_le_bytes());
        self.bytes[16..24].copy_from_slice(&(len as u64).to_le_bytes());
        let sum = checksum(&self.bytes);
        self.bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// Reads little-endian numbers of the fixed part, which is known to be there.
struct Fixed<'a>(&'a [u8]);

impl Fixed<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    /// A 64-bit length; one that the address space cannot hold reads as the largest.
    fn len(&self, at: usize) -> usize {
        let value = u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32;
        usize::try_from(value).unwrap_or(usize::MAX)
    }
}

impl Head {
    /// Reads and checks the head of `payload`, which must be the whole payload.
    pub fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        let short = |needed| CodecError::Truncated { needed, actual: payload.len() };
        let fixed = Fixed(payload.get(..FIXED_LEN).ok_or(short(FIXED_LEN))?);
        if fixed.0[..4] != MAGIC {
            return Err(CodecError::BadMagic);
        }
        let version = fixed.u16(4);
        if version != VERSION {
            return Err(CodecError::UnknownVersion { version });
        }
        let (payload_len, len) = (fixed.len(8), fixed.len(16));
        if payload_len > payload.len() {
            return Err(short(payload_len));
        }
        if payload_len < payload.len()
            || len < FIXED_LEN
            || len > payload_len
            || len % SECTION_ALIGN != 0
            || payload_len % SECTION_ALIGN != 0
        {
            return Err(CodecError::BadHead("lengths do not fit the payload"));
        }
        check_head_checksum(&payload[..len])?;
        let dtype = DTYPES
            .iter()
            .find(|&&(_, code)| code == fixed.0[6])
            .map(|&(dtype, _)| dtype)
            .ok_or(CodecError::BadHead("unknown element type"))?;
        let mut head =
            Self { dtype, original_len: fixed.len(32), len, kind: Kind::Raw, checksums: Vec::new() };
        let rest = Cursor { bytes: &payload[..len], at: FIXED_LEN };
        match fixed.0[7] {
            0 => head.parse_raw(rest, payload_len)?,
            1 => head.parse_tiled(&fixed, rest, payload_len)?,
            _ => return Err(CodecError::BadHead("unknown kind of payload")),
        }
        Ok(head)
    }

    fn parse_raw(&mut self, mut rest: Cursor, payload_len: usize) -> Result<(), CodecError> {
        if self.original_len.checked_next_multiple_of(SECTION_ALIGN) != Some(payload_len - self.len) {
            return Err(CodecError::BadHead("the data has another length than the tensor"));
        }
        self.checksums = rest.u64s(raw_groups(self.original_len))?;
        Ok(())
    }

    fn parse_tiled(&mut self, fixed: &Fixed, mut rest: Cursor, payload_len: usize) -> Result<(), CodecError> {
        let matrix = Matrix { rows: fixed.u32(40) as usize, cols: fixed.u32(44) as usize };
        let tile_cols = usize::from(fixed.u16(48));
        let split =
            Split::new(self.dtype, fixed.0[50]).ok_or(CodecError::BadHead("no such split for this type"))?;
        let elements = matrix.rows.checked_mul(matrix.cols);
        if elements.and_then(|n| n.checked_mul(2)) != Some(self.original_len) || self.original_len == 0 {
            return Err(CodecError::BadHead("rows and columns do not fit the tensor"));
        }
        if tile_cols == 0 || tile_cols % super::grid::CHUNK != 0 || tile_cols > MAX_TILE_COLS {
            return Err(CodecError::BadHead("impossible tile width"));
        }
        let grid = Grid::with_tile_cols(matrix, tile_cols);
        let group_row_blocks = fixed.u32(56) as usize;
        if group_row_blocks == 0 {
            return Err(CodecError::BadHead("empty checksum groups"));
        }
        let first_symbol = fixed.u16(52);
        let lengths = parse_lengths(&mut rest, &split, first_symbol, usize::from(fixed.u16(54)))?;
        let (tiles, tile_table) = parse_tiles(&mut rest, &grid)?;
        let mut tiled = Tiled {
            grid,
            split,
            first_symbol,
            lengths,
            tiles,
            group_row_blocks,
            tile_table,
            coded: 0..0,
            planes: Vec::new(),
        };
        place_sections(&mut tiled, self.len, payload_len)?;
        check_tiles(&tiled)?;
        self.checksums = rest.u64s(tiled.groups() * (1 + tiled.planes.len()))?;
        self.kind = Kind::Tiled(tiled);
        Ok(())
    }

    /// Checks every section's checksums; the head's own was checked by [`Head::parse`].
    pub fn check_sections(&self, payload: &[u8]) -> Result<(), CodecError> {
        for (section, group, range, expected) in self.checked_ranges() {
            if checksum(&payload[range]) != expected {
                return Err(CodecError::Checksum { section, group: Some(group) });
            }
        }
        Ok(())
    }

    /// Compares the checksums of some checksum groups in every section.
    pub(super) fn check_groups(&self, payload: &[u8], groups: Range<usize>) -> Result<(), CodecError> {
        let compare = |section: &dyn Fn() -> String, group: usize, range: Range<usize>, index: usize| {
            let sums_agree = self.checksums.get(index) == Some(&checksum(&payload[range]));
            let differs = || CodecError::Checksum { section: section(), group: Some(group) };
            if sums_agree { Ok(()) } else { Err(differs()) }
        };
        for group in groups {
            match &self.kind {
                Kind::Raw => {
                    let range = raw_range(self.len, self.original_len, group);
                    compare(&|| "data".into(), group, range, group)?;
                }
                Kind::Tiled(tiled) => {
                    compare(&|| "coded plane".into(), group, tiled.coded_of(tiled.group(group)), group)?;
                    for plane in 0..tiled.planes.len() {
                        let (range, index) =
                            (tiled.plane_of(plane, tiled.group(group)), (1 + plane) * tiled.groups() + group);
                        compare(&|| format!("raw plane {plane}"), group, range, index)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The checksum groups that guard the bytes `range` of the original tensor, which must lie in it.
    pub(super) fn groups_of(&self, range: &Range<usize>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        let group_bytes = match &self.kind {
            Kind::Raw => GROUP_ELEMENTS,
            // A writer may say that all row blocks are one group, and more than there are.
            Kind::Tiled(tiled) => tiled.group_row_blocks.saturating_mul(tiled.row_block_bytes()),
        };
        range.start / group_bytes..range.end.div_ceil(group_bytes)
    }

    /// Section, group, bytes and expected checksum of everything after the head.
    fn checked_ranges(&self) -> impl Iterator<Item = (String, usize, Range<usize>, u64)> + '_ {
        let ranges: Vec<_> = match &self.kind {
            Kind::Raw => raw_ranges(self.len, self.original_len)
                .enumerate()
                .map(|(g, range)| ("data".into(), g, range))
                .collect(),
            Kind::Tiled(tiled) => tiled_ranges(tiled),
        };
        ranges.into_iter().zip(&self.checksums).map(|((section, g, range), &sum)| (section, g, range, sum))
    }
}

/// The byte ranges of a raw payload that have a checksum each; the last reaches to the end.
pub(super) fn raw_ranges(head_len: usize, original_len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..raw_groups(original_len)).map(move |group| raw_range(head_len, original_len, group))
}

fn raw_range(head_len: usize, original_len: usize, group: usize) -> Range<usize> {
    let start = group * GROUP_ELEMENTS;
    let last = group + 1 == raw_groups(original_len);
    let stop = if last { original_len.next_multiple_of(SECTION_ALIGN) } else { start + GROUP_ELEMENTS };
    head_len + start..head_len + stop
}

/// The byte ranges of a tiled payload that have a checksum each, in the order of the checksums.
pub(super) fn tiled_ranges(tiled: &Tiled) -> Vec<(String, usize, Range<usize>)> {
    let mut ranges = Vec::new();
    for group in 0..tiled.groups() {
        ranges.push(("coded plane".into(), group, tiled.coded_of(tiled.group(group))));
    }
    for plane in 0..tiled.planes.len() {
        for group in 0..tiled.groups() {
            ranges.push((format!("raw plane {plane}"), group, tiled.plane_of(plane, tiled.group(group))));
        }
    }
    ranges
}

fn check_head_checksum(head: &[u8]) -> Result<(), CodecError> {
    let mut copy = head.to_vec();
    let stored = copy[CHECKSUM_AT..CHECKSUM_AT + 8].to_vec();
    copy[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
    if checksum(&copy).to_le_bytes() != *stored {
        return Err(CodecError::Checksum { section: "head".into(), group: None });
    }
    Ok(())
}

/// A bounds-checked reader over the head.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let end = self.at.checked_add(len);
        let slice = end.and_then(|end| self.bytes.get(self.at..end));
        let slice = slice.ok_or(CodecError::BadHead("tables are longer than the head"))?;
        self.at += len;
        Ok(slice)
    }

    fn u64s(&mut self, count: usize) -> Result<Vec<u64>, CodecError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect())
    }
}

fn parse_lengths(rest: &mut Cursor, split: &Split, first: u16, count: usize) -> Result<Vec<u8>, CodecError> {
    if count == 0 || usize::from(first) + count > 1 << split.symbol_bits() {
        return Err(CodecError::BadHead("symbols outside the alphabet"));
    }
    let packed = rest.take(count.div_ceil(2).next_multiple_of(8))?;
    let lengths: Vec<u8> = packed.iter().flat_map(|b| [b & 15, b >> 4]).take(count).collect();
    let single = count == 1 && lengths[0] == 0;
    if !single && !huffman::is_complete(&lengths) {
        return Err(CodecError::BadHead("code lengths are not those of a complete code"));
    }
    Ok(lengths)
}

fn parse_tiles(rest: &mut Cursor, grid: &Grid) -> Result<(Vec<TileEntry>, Range<usize>), CodecError> {
    let count = grid.col_tiles.checked_mul(grid.row_blocks).and_then(|n| n.checked_mul(8));
    let start = rest.at;
    let bytes = rest.take(count.ok_or(CodecError::BadHead("too many tiles"))?)?;
    let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
    let tiles: Option<Vec<_>> =
        bytes.chunks_exact(8).map(|b| TileEntry::from_words(word(&b[..4]), word(&b[4..]))).collect();
    Ok((tiles.ok_or(CodecError::BadHead("unknown flags in the tile table"))?, start..rest.at))
}

/// The raw planes' sizes follow from the grid and they lie at the end, so the coded plane is what
/// is left between them and the head.
fn place_sections(tiled: &mut Tiled, head_len: usize, payload_len: usize) -> Result<(), CodecError> {
    let bad = CodecError::BadHead("the planes do not fit the payload");
    let mut end = payload_len;
    for &width in tiled.split.planes().iter().rev() {
        let len = tiled.grid.row_block_bytes(usize::from(width)).checked_mul(tiled.grid.row_blocks);
        let start = len.and_then(|len| end.checked_sub(len)).filter(|&s| s >= head_len).ok_or(bad.clone())?;
        tiled.planes.insert(0, start..end);
        end = start;
    }
    tiled.coded = head_len..end;
    Ok(())
}

/// Tiles must lie one after the other and inside the coded plane, each with room for its index.
fn check_tiles(tiled: &Tiled) -> Result<(), CodecError> {
    let plane_words = tiled.coded.len() / 4;
    let mut free = 0;
    for tile in &tiled.tiles {
        let word = tile.word as usize;
        if word < free {
            return Err(CodecError::BadHead("tiles overlap"));
        }
        free = word + tile.index_words();
    }
    if free > plane_words || tiled.tiles.first().is_some_and(|t| t.word != 0) {
        return Err(CodecError::BadHead("tiles lie outside the coded plane"));
    }
    Ok(())
}
