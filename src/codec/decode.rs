//! From a payload back to the tensor's bytes. Twin of `shaders/decode.wgsl`.

use std::ops::Range;

use rayon::prelude::*;

use super::error::CodecError;
use super::grid::{CHUNK, LANES, MAX_TILE_COLS};
use super::head::{GROUP_ELEMENTS, Head, Kind, TileEntry, Tiled};
use super::huffman::{self, TABLE_LEN};
use super::split::Split;
use super::spread::spread;

/// Lanes that are decoded side by side: their look-ups do not wait for each other.
const INTERLEAVED: usize = 4;

/// Symbols of one lane of a tile, four to a word.
type Symbols = [u64; MAX_TILE_COLS / 4];

/// A payload whose head has been checked.
#[derive(Debug)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    head: Head,
}

impl<'a> Payload<'a> {
    /// Reads and checks the head. `bytes` must be the whole payload.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodecError> {
        Ok(Self { head: Head::parse(bytes)?, bytes })
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The whole payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Compares every section with its checksums.
    pub fn check(&self) -> Result<(), CodecError> {
        self.head.check_sections(self.bytes)
    }

    /// Compares the checksums that guard the bytes `range` of the original tensor.
    pub fn check_bytes(&self, range: Range<usize>) -> Result<(), CodecError> {
        self.require_bytes(&range)?;
        self.head.check_groups(self.bytes, self.head.groups_of(&range))
    }

    /// How many bytes of the original tensor are best decoded together: those of a row block of 64
    /// rows, or a MiB of a tensor that is stored raw. Never 0.
    pub fn band_bytes(&self) -> usize {
        match &self.head.kind {
            Kind::Raw => GROUP_ELEMENTS,
            Kind::Tiled(tiled) => tiled.row_block_bytes(),
        }
    }

    /// Writes the bytes `range` of the original tensor to `out`, which must be as long. Reads the
    /// streams of the rows that the range touches, and of these the tiles; takes no memory that
    /// grows with the tensor. Runs on the calling thread.
    pub fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), CodecError> {
        self.require_bytes(&range)?;
        if out.len() != range.len() {
            return Err(CodecError::WrongOutput { expected: range.len(), actual: out.len() });
        }
        match &self.head.kind {
            Kind::Raw => {
                out.copy_from_slice(&self.bytes[self.head.len + range.start..self.head.len + range.end])
            }
            Kind::Tiled(_) if range.is_empty() => {}
            Kind::Tiled(tiled) => self.decode_range(tiled, range, out)?,
        }
        Ok(())
    }

    fn require_bytes(&self, range: &Range<usize>) -> Result<(), CodecError> {
        let len = self.head.original_len;
        match range.start <= range.end && range.end <= len {
            true => Ok(()),
            false => Err(CodecError::NoSuchBytes { start: range.start, end: range.end, len }),
        }
    }

    /// Whole rows are decoded by row block, a row that the range begins or ends in by tile.
    fn decode_range(&self, tiled: &Tiled, range: Range<usize>, out: &mut [u8]) -> Result<(), CodecError> {
        let table = peek_table(tiled);
        let row_bytes = 2 * tiled.grid.matrix.cols;
        let (mut at, mut left) = (range.start, out);
        while at < range.end {
            let (row, in_row) = (at / row_bytes, at % row_bytes);
            let whole_rows = if in_row == 0 { (range.end - at) / row_bytes } else { 0 };
            let lane = row % LANES;
            let lanes = lane..(lane + whole_rows).min(LANES);
            let len = match lanes.len() {
                0 => (row_bytes - in_row).min(range.end - at),
                rows => rows * row_bytes,
            };
            let (here, rest) = left.split_at_mut(len);
            match lanes.len() {
                0 => self.decode_row_part(tiled, &table, row, in_row, here)?,
                _ => self.decode_lanes(tiled, &table, row / LANES, lanes, here)?,
            }
            (at, left) = (at + len, rest);
        }
        Ok(())
    }

    /// Decodes bytes of one row, from byte `start` of the row on.
    fn decode_row_part(
        &self,
        tiled: &Tiled,
        table: &[u16; TABLE_LEN],
        row: usize,
        start: usize,
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        let tile_bytes = 2 * tiled.grid.tile_cols;
        let mut buffer = [0; 2 * MAX_TILE_COLS];
        let (mut at, mut left) = (start, out);
        while !left.is_empty() {
            let (col_tile, in_tile) = (at / tile_bytes, at % tile_bytes);
            let decoded = &mut buffer[..2 * tiled.grid.cols_in(col_tile)];
            self.decode_tile_lanes(
                tiled,
                table,
                (row / LANES, col_tile),
                row % LANES..row % LANES + 1,
                decoded,
                0,
            )?;
            let len = left.len().min(decoded.len() - in_tile);
            let (here, rest) = left.split_at_mut(len);
            here.copy_from_slice(&decoded[in_tile..in_tile + len]);
            (at, left) = (at + len, rest);
        }
        Ok(())
    }

    /// The original bytes.
    ///
    /// The allocation is bounded by the payload: a tiled element has at least six raw bits in it.
    pub fn decode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = vec![0; self.head.original_len];
        self.decode_into(&mut out)?;
        Ok(out)
    }

    /// Writes the original bytes to `out`, spread over the current rayon pool.
    pub fn decode_into(&self, out: &mut [u8]) -> Result<(), CodecError> {
        let expected = self.head.original_len;
        if out.len() != expected {
            return Err(CodecError::WrongOutput { expected, actual: out.len() });
        }
        match &self.head.kind {
            Kind::Raw => out.copy_from_slice(&self.bytes[self.head.len..self.head.len + expected]),
            Kind::Tiled(tiled) => {
                let table = peek_table(tiled);
                out.par_chunks_mut(LANES * 2 * tiled.grid.matrix.cols).enumerate().try_for_each(
                    |(row_block, out)| {
                        let lanes = 0..tiled.grid.rows_in(row_block);
                        self.decode_lanes(tiled, &table, row_block, lanes, out)
                    },
                )?;
            }
        }
        Ok(())
    }

    /// The original bytes of some rows of the tensor seen as a matrix; see
    /// [`Matrix::of_shape`](crate::tensor::Matrix::of_shape). `None` where the tensor is not tiled.
    pub fn decode_rows(&self, rows: Range<usize>) -> Option<Result<Vec<u8>, CodecError>> {
        let Kind::Tiled(tiled) = &self.head.kind else { return None };
        let matrix = tiled.grid.matrix;
        if rows.start > rows.end || rows.end > matrix.rows {
            return Some(Err(CodecError::NoSuchRows { start: rows.start, end: rows.end, rows: matrix.rows }));
        }
        let table = peek_table(tiled);
        let mut out = vec![0; rows.len() * 2 * matrix.cols];
        let mut left = &mut out[..];
        let mut row = rows.start;
        while row < rows.end {
            let lanes = row % LANES..(rows.end - row + row % LANES).min(LANES);
            let (here, rest) = left.split_at_mut(lanes.len() * 2 * matrix.cols);
            if let Err(error) = self.decode_lanes(tiled, &table, row / LANES, lanes.clone(), here) {
                return Some(Err(error));
            }
            row += lanes.len();
            left = rest;
        }
        Some(Ok(out))
    }

    /// Decodes some lanes of all tiles of a row block into `out`, row after row.
    fn decode_lanes(
        &self,
        tiled: &Tiled,
        table: &[u16; TABLE_LEN],
        row_block: usize,
        lanes: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        let row_bytes = 2 * tiled.grid.matrix.cols;
        for col_tile in 0..tiled.grid.col_tiles {
            let out = &mut out[2 * col_tile * tiled.grid.tile_cols..];
            self.decode_tile_lanes(tiled, table, (row_block, col_tile), lanes.clone(), out, row_bytes)?;
        }
        Ok(())
    }

    /// Decodes some lanes of one tile into `out`, each `stride` bytes after the one before.
    fn decode_tile_lanes(
        &self,
        tiled: &Tiled,
        table: &[u16; TABLE_LEN],
        (row_block, col_tile): (usize, usize),
        lanes: Range<usize>,
        out: &mut [u8],
        stride: usize,
    ) -> Result<(), CodecError> {
        let grid = &tiled.grid;
        let mut symbols = [[0; MAX_TILE_COLS / 4]; INTERLEAVED];
        let join = [join_lane::<0>, join_lane::<1>, join_lane::<2>][usize::from(tiled.split.top_bits)];
        let tile = row_block * grid.col_tiles + col_tile;
        let starts = self.lane_starts(tiled, tile, grid.rows_in(row_block))?;
        let cols = grid.cols_in(col_tile);
        for first in lanes.clone().step_by(INTERLEAVED) {
            // Where fewer lanes are left, the last one is decoded more than once.
            let lane = |i: usize| (first + i).min(lanes.end - 1);
            let from = std::array::from_fn(|i| starts[lane(i)]);
            let ends = decode_symbols(self.bytes, from, table, cols, &mut symbols);
            for (i, &end) in ends.iter().enumerate() {
                if end != starts[lane(i) + 1] {
                    return Err(CodecError::BadStream { row: row_block * LANES + lane(i) });
                }
            }
            for (i, symbols) in symbols.iter().enumerate().take(lanes.end - first) {
                let at = (first - lanes.start + i) * stride;
                let lane = self.plane_lane(tiled, row_block, first + i, col_tile);
                join(self.bytes, lane, symbols, &mut out[at..at + 2 * cols]);
            }
        }
        Ok(())
    }

    /// Where each lane's stream starts, in bits from the start of the payload, and where the last
    /// one ends. All lie inside the tile.
    fn lane_starts(&self, tiled: &Tiled, tile: usize, rows: usize) -> Result<[usize; LANES + 1], CodecError> {
        let entry: TileEntry = tiled.tiles[tile];
        let index = tiled.coded.start + 4 * entry.word as usize;
        let mut bit = 8 * (index + 4 * entry.index_words());
        let mut starts = [bit; LANES + 1];
        for lane in 0..rows {
            let more = match entry.wide {
                false => usize::from(self.bytes[index + lane]),
                true => {
                    usize::from(self.bytes[index + 2 * lane])
                        | usize::from(self.bytes[index + 2 * lane + 1]) << 8
                }
            };
            bit += usize::from(entry.base_bits) + more;
            starts[lane + 1] = bit;
        }
        let end = match tiled.tiles.get(tile + 1) {
            Some(next) => tiled.coded.start + 4 * next.word as usize,
            None => tiled.coded.end,
        };
        if bit > 8 * end {
            return Err(CodecError::BadStream { row: tile / tiled.grid.col_tiles * LANES });
        }
        Ok(starts)
    }

    /// Where the words of one lane of a tile begin in each raw plane.
    fn plane_lane(&self, tiled: &Tiled, row_block: usize, lane: usize, col_tile: usize) -> PlaneStarts {
        let first_bit = |width: u8| col_tile * tiled.grid.tile_cols * usize::from(width);
        let mut starts = PlaneStarts::default();
        for ((start, plane), &width) in starts.iter_mut().zip(&tiled.planes).zip(tiled.split.planes()) {
            let block = row_block * tiled.grid.row_block_bytes(usize::from(width));
            *start = (plane.start + block + 4 * lane, first_bit(width));
        }
        starts
    }
}

/// For each plane, the byte of a lane's first word in the row block and the first bit wanted.
type PlaneStarts = [(usize, usize); 4];

/// Puts the symbols and the raw planes of one lane of a tile together, for a split with `T` coded
/// mantissa bits: with `T` known, all shifts are constants.
fn join_lane<const T: usize>(bytes: &[u8], starts: PlaneStarts, symbols: &Symbols, out: &mut [u8]) {
    let split = Split::bf16::<T>();
    for (chunk, (out, symbols)) in out.chunks_mut(2 * CHUNK).zip(symbols.chunks_exact(CHUNK / 4)).enumerate()
    {
        let mut raw = [0; CHUNK / 4];
        for (plane, &width) in split.planes().iter().enumerate() {
            let (start, first_bit) = starts[plane];
            let width = u32::from(width);
            let fields = chunk_fields(bytes, start, first_bit + chunk * CHUNK * width as usize, width);
            for (i, raw) in raw.iter_mut().enumerate() {
                let four = (fields >> (4 * width * i as u32)) as u32;
                *raw |= spread(four, width) << split.plane_shift(plane);
            }
        }
        let mut joined = [0; 2 * CHUNK];
        for ((joined, &symbols), raw) in joined.chunks_exact_mut(8).zip(symbols).zip(raw) {
            joined.copy_from_slice(&split.join_four(symbols, raw).to_le_bytes());
        }
        match <&mut [u8; 2 * CHUNK]>::try_from(&mut *out) {
            Ok(out) => *out = joined,
            Err(_) => out.copy_from_slice(&joined[..out.len()]),
        }
    }
}

/// The fields of a chunk of columns in one plane, `CHUNK * width` bits from bit `bit` on, of the
/// lane whose first word is at byte `start`.
fn chunk_fields(bytes: &[u8], start: usize, bit: usize, width: u32) -> u64 {
    let word = |index: usize| {
        let at = start + 4 * index * LANES;
        u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
    };
    match width {
        4 => word(bit / 32) | word(bit / 32 + 1) << 32,
        _ => word(bit / 32) >> (bit % 32),
    }
}

fn peek_table(tiled: &Tiled) -> Box<[u16; TABLE_LEN]> {
    let table = huffman::decode_table(tiled.first_symbol, &tiled.lengths);
    table.into_boxed_slice().try_into().expect("the table has that many entries")
}

/// Decodes `cols` symbols of each of four streams that start at the bits `at`, and returns the bits
/// they end at. Reads zeros past the end of `bytes`, so any `at` is safe.
fn decode_symbols(
    bytes: &[u8],
    mut at: [usize; INTERLEAVED],
    table: &[u16; TABLE_LEN],
    cols: usize,
    symbols: &mut [Symbols; INTERLEAVED],
) -> [usize; INTERLEAVED] {
    for four in 0..cols / 4 {
        for (at, symbols) in at.iter_mut().zip(symbols.iter_mut()) {
            let (decoded, used) = decode_some::<4>(bytes, *at, table);
            symbols[four] = decoded;
            *at += used;
        }
    }
    let decode = match cols % 4 {
        0 => return at,
        1 => decode_some::<1>,
        2 => decode_some::<2>,
        _ => decode_some::<3>,
    };
    for (at, symbols) in at.iter_mut().zip(symbols) {
        let (decoded, used) = decode(bytes, *at, table);
        symbols[cols / 4] = decoded;
        *at += used;
    }
    at
}

/// `N` (at most four) symbols, 16 bits each, and the bits they take. A window has 57 bits or more,
/// and four codes take 48 at most.
#[inline(always)]
fn decode_some<const N: usize>(bytes: &[u8], at: usize, table: &[u16; TABLE_LEN]) -> (u64, usize) {
    let word = bytes.get(at / 8..at / 8 + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().expect("eight")));
    let mut bits = word >> (at % 8);
    let (mut decoded, mut used) = (0, 0);
    for i in 0..N {
        let entry = table[bits as usize % TABLE_LEN];
        decoded |= u64::from(entry >> 4) << (16 * i);
        bits >>= entry & 15;
        used += usize::from(entry & 15);
    }
    (decoded, used)
}
