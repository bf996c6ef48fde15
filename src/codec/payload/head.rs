//! What is written about a tensor at the front of its payload.
//!
//! ```text
//! fixed part, tables, checksums | padding | coded plane | raw plane 0 | raw plane 1 …   tiled, scaled or not
//! fixed part, checksums         | padding | data                                        raw
//! fixed part, one element       | padding                                               constant
//! ```
//! Every section starts on a multiple of 256 bytes from the start of the payload and is padded
//! with zeros to the next. All numbers are little-endian. `docs/format.md` has the byte offsets.

use std::borrow::Cow;
use std::ops::Range;

use super::checksum::checksum;
use super::error::CodecError;
use super::grid::{CHUNK, Grid, LANES, SECTION_ALIGN};
use super::lossy::Lossy;
use super::precision::{Kept, Precision};
pub use super::scaled::Scaled;
use super::split::{BF16_CLEAN_BITS, Plane, Split};
use crate::codec::entropy::huffman::Code;
use crate::tensor::Dtype;

/// Bytes of a raw or constant payload that are handled at a time.
const BAND: usize = 1 << 20;

/// The newest version of a payload. Older ones are still written where they can say what is to be said.
pub const VERSION: u16 = 3;

pub(crate) const MAGIC: [u8; 4] = *b"BTM\0";
/// Bytes of a head before its tables.
pub const FIXED_LEN: usize = 64;
pub(crate) const CHECKSUM_AT: usize = 24;

/// Elements (raw payloads: bytes) that share a checksum, about.
pub(crate) const GROUP_ELEMENTS: usize = 1 << 20;

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

    pub(crate) fn to_words(self) -> [u32; 2] {
        [self.word, u32::from(self.base_bits) | u32::from(self.wide) << 16]
    }

    pub(crate) fn from_words(word: u32, shape: u32) -> Option<Self> {
        (shape >> 17 == 0).then_some(Self { word, base_bits: shape as u16, wide: shape >> 16 == 1 })
    }
}

/// No larger tensor is stored as one element, so that a few bytes of a stranger's cannot ask for any
/// amount of memory.
pub(crate) const MAX_CONSTANT: usize = 16 << 20;

/// How the elements are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// As they are.
    Raw,
    /// All are equal, and this one's bytes stand for them.
    Constant(Vec<u8>),
    /// In tiles.
    Tiled(Box<Tiled>),
}

/// What a decoder needs to know about a tiled tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiled {
    /// The tiles, of units: see [`unit_matrix`](super::split::unit_matrix).
    pub grid: Grid,
    /// Which bits are where in a unit; in a quotient, where the tensor was rounded.
    pub split: Split,
    /// The code of the symbols.
    pub code: Code,
    /// What is added to the symbols of each row; empty where nothing is.
    pub shifts: Shifts,
    /// Which rows have a part in the sparse planes, by row block; empty where there are none.
    pub masks: Vec<RowMask>,
    /// What quotients are multiplied by; `None` where the tensor is as it was.
    pub scaled: Option<Scaled>,
    /// Tiles by index.
    pub tiles: Vec<TileEntry>,
    /// Row blocks that share a checksum.
    pub group_row_blocks: usize,
    /// Where the tables stand in the payload.
    pub tables: Tables,
    /// The coded plane's bytes in the payload, padding included.
    pub coded: Range<usize>,
    /// The raw planes' bytes in the payload, padding included.
    pub planes: Vec<Range<usize>>,
}

/// Byte ranges of a head's tables in the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Row shifts: 32 bytes a row block, 4 bits a row.
    pub shifts: Range<usize>,
    /// Row masks: 16 bytes a row block.
    pub masks: Range<usize>,
    /// Scales: 128 bytes a tile.
    pub scales: Range<usize>,
    /// Tile table: 8 bytes a tile.
    pub tiles: Range<usize>,
}

/// What is added to the symbols of each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shifts {
    /// By row, 0 to 15; as many as the row blocks have lanes, or none.
    pub rows: Vec<u8>,
    /// How far they are moved up first.
    pub unit: u8,
}

impl Shifts {
    /// What is added to the symbols of row `row`.
    #[inline(always)]
    pub fn of(&self, row: usize) -> u16 {
        self.rows.get(row).map_or(0, |&shift| u16::from(shift) << self.unit)
    }
}

/// Which rows of a row block are not clean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowMask {
    /// Bit `l` for lane `l`.
    pub lanes: u64,
    /// Rows of all row blocks before that are not clean.
    pub before: u32,
}

impl RowMask {
    /// Rows of this row block that are not clean.
    pub fn count(&self) -> usize {
        self.lanes.count_ones() as usize
    }

    /// The place of `lane` among them; `None` where it is clean.
    #[inline(always)]
    pub fn place(&self, lane: usize) -> Option<usize> {
        let bit = 1u64 << lane;
        (self.lanes & bit != 0).then(|| (self.lanes & (bit - 1)).count_ones() as usize)
    }
}

/// Where a lane of a row block stands in a raw plane, and how many lanes there are: the distance from
/// one word of a lane to its next. `None` where it is clean and the plane sparse.
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

/// Bytes of a raw plane's section, padding included; `None` where the number overflows.
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

    /// Bytes of the payload that hold the coded streams of `row_blocks`; the section's padding
    /// belongs to the last.
    pub fn coded_of(&self, row_blocks: Range<usize>) -> Range<usize> {
        let at = |row_block: usize| match self.tiles.get(row_block * self.grid.col_tiles) {
            Some(tile) => self.coded.start + 4 * tile.word as usize,
            None => self.coded.end,
        };
        at(row_blocks.start)..at(row_blocks.end)
    }

    /// What is read of the raw planes in `precision`. Sparse planes that no row has a part in are left out in any
    /// case, and with them nothing is lost. What was rounded already is read whole.
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

    /// Bytes of the original tensor that one row block holds, if it is full.
    pub fn row_block_bytes(&self) -> usize {
        LANES * self.row_bytes()
    }

    /// Bytes of one row of the original tensor.
    pub fn row_bytes(&self) -> usize {
        self.grid.matrix.cols * self.unit_bytes()
    }

    /// Bytes that a unit is decoded to.
    pub(crate) fn unit_bytes(&self) -> usize {
        self.scaled.as_ref().map_or(self.split.unit_bytes(), Scaled::element_bytes)
    }

    /// How the tensor was rounded; `None` where it is as it was.
    pub fn lossy(&self) -> Option<Lossy> {
        self.scaled.as_ref().and_then(|_| Lossy::new(self.mantissa_bits(), self.grid.tile_cols).ok())
    }

    /// Mantissa bits of a quotient.
    fn mantissa_bits(&self) -> u8 {
        BF16_CLEAN_BITS + 1 - self.split.clean_bits
    }

    /// What is decoded of `rows` of the original tensor, of which the first is row `first`. They must be whole rows.
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

    /// Bytes of the payload that hold raw plane `plane` of `row_blocks`; the section's padding
    /// belongs to the last.
    pub fn plane_of(&self, plane: usize, row_blocks: Range<usize>) -> Range<usize> {
        let section = &self.planes[plane];
        let at = |row_block: usize| match row_block < self.grid.row_blocks {
            true => section.start + 4 * self.plane_word(plane, row_block),
            false => section.end,
        };
        at(row_blocks.start)..at(row_blocks.end)
    }

    /// Bytes of the payload that hold tile `tile`: in the coded plane, and then in each raw plane. None
    /// where there is no such tile.
    pub(crate) fn tile_parts(&self, tile: usize) -> Vec<Range<usize>> {
        let word = |tile: usize| self.tiles.get(tile).map(|tile| self.coded.start + 4 * tile.word as usize);
        let Some(start) = word(tile) else { return Vec::new() };
        let mut parts = Vec::with_capacity(1 + self.planes.len());
        parts.push(start..word(tile + 1).unwrap_or(self.coded.end));
        let (row_block, col_tile) = (tile / self.grid.col_tiles, tile % self.grid.col_tiles);
        for (i, plane) in self.split.planes().iter().enumerate() {
            // A word that two tiles share is in both.
            let bits = |cols: usize| cols * usize::from(plane.width);
            let first = col_tile * self.grid.tile_cols;
            let end = (first + self.grid.cols_in(col_tile)).next_multiple_of(CHUNK);
            let lanes = 4 * self.plane_lanes(i, row_block);
            let start = self.planes[i].start + 4 * self.plane_word(i, row_block);
            parts.push(start + lanes * (bits(first) / 32)..start + lanes * bits(end).div_ceil(32));
        }
        parts
    }

    /// The word of raw plane `plane` that row block `row_block` begins with.
    pub fn plane_word(&self, plane: usize, row_block: usize) -> usize {
        let plane = self.split.planes()[plane];
        let words = self.grid.lane_words(usize::from(plane.width));
        match plane.is_sparse() {
            true => self.masks[row_block].before as usize * words,
            false => row_block * LANES * words,
        }
    }

    /// Lanes that row block `row_block` has in raw plane `plane`: the distance from one word of a
    /// lane to its next.
    pub fn plane_lanes(&self, plane: usize, row_block: usize) -> usize {
        match self.split.planes()[plane].is_sparse() {
            true => self.masks[row_block].count(),
            false => LANES,
        }
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
    pub(crate) checksums: Vec<u64>,
}

/// A run of a payload's bytes that has a checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRun {
    /// Bytes of the payload.
    pub bytes: Range<usize>,
    section: usize,
    group: usize,
}

/// Row blocks that share a checksum.
pub(crate) fn group_row_blocks(grid: &Grid) -> usize {
    (GROUP_ELEMENTS / (LANES * grid.padded_cols.max(1))).max(1)
}

pub(crate) fn raw_groups(len: usize) -> usize {
    len.div_ceil(GROUP_ELEMENTS)
}

/// Dtype codes in the head. Never reuse a number.
pub(crate) const DTYPES: [(Dtype, u8); 22] = [
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
pub(crate) fn dtype_code(dtype: Dtype) -> Option<u8> {
    DTYPES.iter().find(|(d, _)| *d == dtype).map(|&(_, code)| code)
}

impl Head {
    /// Number of checksum groups: runs of row blocks, or of 2²⁰ bytes of a raw payload.
    pub fn groups(&self) -> usize {
        match &self.kind {
            Kind::Raw => raw_groups(self.original_len),
            Kind::Constant(_) => 0,
            Kind::Tiled(tiled) => tiled.groups(),
        }
    }

    /// Bytes of the original tensor that are best decoded together: a full row block, or a MiB.
    pub fn band_bytes(&self) -> usize {
        match &self.kind {
            Kind::Tiled(tiled) => tiled.row_block_bytes(),
            Kind::Raw => BAND,
            Kind::Constant(element) => BAND.next_multiple_of(element.len()),
        }
    }

    /// The groups that hold the bytes `range` of the original tensor.
    pub fn groups_of(&self, range: Range<usize>) -> Range<usize> {
        let group_bytes = match &self.kind {
            Kind::Raw => GROUP_ELEMENTS,
            Kind::Constant(_) => return 0..0,
            Kind::Tiled(tiled) => tiled.group_row_blocks.saturating_mul(tiled.row_block_bytes()),
        };
        range.start / group_bytes..range.end.div_ceil(group_bytes).min(self.groups())
    }

    /// Checks all sections' checksums of `groups`, but for those of planes from the `planes`th on; the head's
    /// own was checked by [`Head::parse`].
    pub fn check_groups(
        &self,
        payload: &[u8],
        groups: Range<usize>,
        planes: usize,
    ) -> Result<(), CodecError> {
        self.checked(groups, planes)
            .try_for_each(|run| self.compare(&run, checksum(&payload[run.bytes.clone()])))
    }

    /// The runs of `groups` that have a checksum, but for those of planes from the `planes`th on.
    pub fn checked(&self, groups: Range<usize>, planes: usize) -> impl Iterator<Item = CheckedRun> + '_ {
        let sections = match &self.kind {
            Kind::Raw => 1,
            Kind::Constant(_) => 0,
            Kind::Tiled(tiled) => 1 + tiled.planes.len(),
        };
        let run = |section, group| {
            let bytes = match &self.kind {
                Kind::Tiled(tiled) => tiled.section_of(section, tiled.group(group)),
                _ => raw_range(self.len, self.original_len, group),
            };
            CheckedRun { bytes, section, group }
        };
        let sections = 0..sections.min(planes.saturating_add(1));
        sections.flat_map(move |section| groups.clone().map(move |group| run(section, group)))
    }

    /// An error that names `run`, unless `sum` is its checksum.
    pub fn compare(&self, run: &CheckedRun, sum: u64) -> Result<(), CodecError> {
        match self.checksums[run.section * self.groups() + run.group] == sum {
            true => Ok(()),
            false => {
                let section = self.section_name(run.section);
                Err(CodecError::Checksum { section, group: Some(run.group) })
            }
        }
    }

    fn section_name(&self, section: usize) -> String {
        match (&self.kind, section) {
            (Kind::Tiled(_), 0) => "coded plane".into(),
            (Kind::Tiled(_), plane) => format!("raw plane {}", plane - 1),
            _ => "data".into(),
        }
    }
}

/// The bytes of group `group` of a raw payload; the last reaches to the end.
pub(crate) fn raw_range(head_len: usize, original_len: usize, group: usize) -> Range<usize> {
    let stop = match group + 1 == raw_groups(original_len) {
        true => original_len.next_multiple_of(SECTION_ALIGN),
        false => (group + 1) * GROUP_ELEMENTS,
    };
    head_len + group * GROUP_ELEMENTS..head_len + stop
}
