//! Reading a head, which may be from an untrusted file.

use super::checksum::checksum;
use super::error::CodecError;
use super::fixed_part::{CHECKSUM_AT, DELTA, DELTA_ALIGN, DTYPES, FIXED_LEN, MAGIC, MAX_CONSTANT, VERSION};
use super::grid::{CHUNK, Grid, MAX_TILE_COLS, SECTION_ALIGN};
use super::groups::raw_groups;
use super::head::{Head, Kind};
use super::row_tables::Shifts;
use super::scaled::Scaled;
use super::split::Split;
use super::tables_reader::{Cursor, read_code, read_masks, read_scales, read_shifts, read_tiles};
use super::tiled::{Tables, Tiled, plane_bytes};
use crate::tensor::{Dtype, Matrix};

/// Reads little-endian numbers of the fixed part, whose presence has been checked.
pub(super) struct Fixed<'a>(pub &'a [u8]);

impl Fixed<'_> {
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    /// A 64-bit length; one that exceeds the address space becomes `usize::MAX`.
    pub fn len(&self, at: usize) -> usize {
        let value = u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32;
        usize::try_from(value).unwrap_or(usize::MAX)
    }
}

/// What all heads begin with, checked against the payload's length and the head's checksum.
pub(super) struct Front<'a> {
    pub fixed: Fixed<'a>,
    pub version: u16,
    pub dtype: Dtype,
    /// Bytes of the head.
    pub len: usize,
    pub payload_len: usize,
}

impl<'a> Front<'a> {
    /// Reads the front of a payload of `actual` bytes, of which `payload` contains at least the head.
    pub fn read(payload: &'a [u8], actual: usize) -> Result<Self, CodecError> {
        let short = |needed| CodecError::Truncated { needed, actual };
        let fixed = Fixed(payload.get(..FIXED_LEN).ok_or(short(FIXED_LEN))?);
        if fixed.0[..4] != MAGIC {
            return Err(CodecError::BadMagic);
        }
        let version = fixed.u16(4);
        if version == 0 || version > VERSION {
            return Err(CodecError::UnknownVersion { version });
        }
        let (payload_len, len) = (fixed.len(8), fixed.len(16));
        let align = if fixed.0[7] == DELTA { DELTA_ALIGN } else { SECTION_ALIGN };
        if payload_len > actual {
            return Err(short(payload_len));
        }
        if payload_len < actual
            || len > payload.len()
            || len < FIXED_LEN
            || len > payload_len
            || len % align != 0
            || payload_len % SECTION_ALIGN != 0
        {
            return Err(CodecError::BadHead("the stated lengths contradict the payload's length"));
        }
        check_head_checksum(&payload[..len])?;
        let dtype = DTYPES
            .iter()
            .find(|&&(_, code)| code == fixed.0[6])
            .map(|&(dtype, _)| dtype)
            .ok_or(CodecError::BadHead("unknown element type"))?;
        Ok(Self { fixed, version, dtype, len, payload_len })
    }
}

impl Head {
    /// Reads and checks the head of `payload`, which must be the whole payload.
    pub fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        Self::parse_front(payload, payload.len())
    }

    /// The length that a head beginning with `front` states. It is unchecked.
    pub fn len_of(front: &[u8; FIXED_LEN]) -> usize {
        Fixed(front).len(16)
    }

    /// Like [`Head::parse`], for a payload of `actual` bytes; `payload` must contain at least its head.
    pub fn parse_front(payload: &[u8], actual: usize) -> Result<Self, CodecError> {
        let Front { fixed, version, dtype, len, payload_len } = Front::read(payload, actual)?;
        let mut head =
            Self { dtype, original_len: fixed.len(32), len, kind: Kind::Raw, checksums: Vec::new() };
        let rest = Cursor::new(&payload[..len], FIXED_LEN);
        match (fixed.0[7], version) {
            (0, _) => head.parse_raw(rest, payload_len)?,
            (1, _) => head.parse_tiled(&fixed, version, rest, payload_len)?,
            (3, 3..) => head.parse_tiled(&fixed, version, rest, payload_len)?,
            (2, 2..) => head.parse_constant(usize::from(fixed.u16(40)), rest, payload_len)?,
            (DELTA, 4..) => return Err(CodecError::IsDelta),
            _ => return Err(CodecError::BadHead("unknown kind of payload")),
        }
        Ok(head)
    }

    fn parse_raw(&mut self, mut rest: Cursor, payload_len: usize) -> Result<(), CodecError> {
        if self.original_len.checked_next_multiple_of(SECTION_ALIGN) != Some(payload_len - self.len) {
            return Err(CodecError::BadHead("the data and the tensor differ in length"));
        }
        self.checksums = rest.u64s(raw_groups(self.original_len))?;
        Ok(())
    }

    fn parse_constant(&mut self, len: usize, mut rest: Cursor, payload_len: usize) -> Result<(), CodecError> {
        let fits = len > 0
            && len * 8 == self.dtype.bitsize()
            && self.original_len.is_multiple_of(len)
            && self.original_len <= MAX_CONSTANT;
        if !fits || payload_len != self.len {
            return Err(CodecError::BadHead("the element's length does not match the tensor"));
        }
        self.kind = Kind::Constant(rest.take(len)?.to_vec());
        Ok(())
    }

    fn parse_tiled(
        &mut self,
        fixed: &Fixed,
        version: u16,
        mut rest: Cursor,
        payload_len: usize,
    ) -> Result<(), CodecError> {
        let is_scaled = fixed.0[7] == 3;
        let split = match is_scaled {
            true => parse_quotients(self.dtype, fixed)?,
            false => parse_split(self.dtype, version, fixed)?,
        };
        let unit_bytes = if is_scaled { self.dtype.bitsize() / 8 } else { split.unit_bytes() };
        let grid = parse_grid(fixed, unit_bytes, self.original_len)?;
        let group_row_blocks = fixed.u32(56) as usize;
        if group_row_blocks == 0 {
            return Err(CodecError::BadHead("a checksum group has no row blocks"));
        }
        let escape = if version == 1 { 0 } else { fixed.0[61] };
        let code = read_code(&mut rest, &split, fixed.u16(52), usize::from(fixed.u16(54)), escape)?;
        let mut tables = Tables::default();
        let has_shifts = version > 1 && fixed.0[62] != 0;
        let shifts = match has_shifts {
            true => read_shifts(&mut rest, &grid, &split, fixed.0[63], &mut tables)?,
            false => Shifts::default(),
        };
        let masks = match split.clean_bits > 0 {
            true => read_masks(&mut rest, &grid, &mut tables)?,
            false => Vec::new(),
        };
        let mut scaled = None;
        if is_scaled {
            if masks.iter().any(|mask| mask.lanes != 0) {
                return Err(CodecError::BadHead("quotients have nonzero clean bits"));
            }
            let scales = read_scales(&mut rest, &grid, &mut tables)?;
            scaled = Some(Scaled { dtype: self.dtype, scales });
        }
        let tiles = read_tiles(&mut rest, &grid, &mut tables)?;
        let planes = Vec::new();
        let mut tiled = Tiled {
            grid,
            split,
            code,
            shifts,
            masks,
            scaled,
            tiles,
            group_row_blocks,
            tables,
            coded: 0..0,
            planes,
        };
        place_sections(&mut tiled, self.len, payload_len)?;
        check_tiles(&tiled)?;
        self.checksums = rest.u64s(tiled.groups().saturating_mul(1 + tiled.planes.len()))?;
        self.kind = Kind::Tiled(Box::new(tiled));
        Ok(())
    }
}

/// Version 1 has tiles only for BF16, and states only the number of top bits. Before version 3, a BF16 has no
/// clean bits.
fn parse_split(dtype: Dtype, version: u16, fixed: &Fixed) -> Result<Split, CodecError> {
    let split = match version {
        1 if dtype != Dtype::BF16 => None,
        1 => Split::new(dtype, fixed.0[50], 0, 0),
        2 if dtype == Dtype::BF16 && fixed.0[60] != 0 => None,
        _ => Split::new(dtype, fixed.0[50], fixed.0[51], fixed.0[60]),
    };
    split.ok_or(CodecError::BadHead("invalid split for this element type"))
}

/// The split of the quotients of a tensor of `dtype`.
fn parse_quotients(dtype: Dtype, fixed: &Fixed) -> Result<Split, CodecError> {
    let split = match dtype {
        Dtype::BF16 | Dtype::F16 | Dtype::F32 => {
            Split::new(Dtype::BF16, fixed.0[50], fixed.0[51], fixed.0[60]).filter(|s| s.clean_bits > 0)
        }
        _ => None,
    };
    split.ok_or(CodecError::BadHead("invalid split for quotients of this element type"))
}

pub(super) fn parse_grid(fixed: &Fixed, unit_bytes: usize, original_len: usize) -> Result<Grid, CodecError> {
    let matrix = Matrix { rows: fixed.u32(40) as usize, cols: fixed.u32(44) as usize };
    let tile_cols = usize::from(fixed.u16(48));
    let units = matrix.rows.checked_mul(matrix.cols);
    if units.and_then(|n| n.checked_mul(unit_bytes)) != Some(original_len) || original_len == 0 {
        return Err(CodecError::BadHead("rows and columns do not match the tensor"));
    }
    if tile_cols == 0 || tile_cols % CHUNK != 0 || tile_cols > MAX_TILE_COLS {
        return Err(CodecError::BadHead("invalid tile width"));
    }
    Ok(Grid::with_tile_cols(matrix, tile_cols))
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

/// The raw planes lie at the end, and their sizes follow from the grid and the masks. The coded plane fills
/// the rest between the head and them.
fn place_sections(tiled: &mut Tiled, head_len: usize, payload_len: usize) -> Result<(), CodecError> {
    let bad = CodecError::BadHead("the planes are too long for the payload");
    let mut end = payload_len;
    for plane in tiled.split.planes().iter().rev() {
        let len = plane_bytes(plane, &tiled.grid, &tiled.masks);
        let start = len.and_then(|len| end.checked_sub(len)).filter(|&s| s >= head_len).ok_or(bad.clone())?;
        tiled.planes.insert(0, start..end);
        end = start;
    }
    tiled.coded = head_len..end;
    Ok(())
}

/// Checks that tiles follow each other inside the coded plane, each with room for its lane index.
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
