//! Decoding rows of a row block: the part of the work that is done on every element.

use std::ops::Range;
use std::sync::OnceLock;

use super::by_columns::{Buffers, LEAST_LANES};
use crate::codec::entropy::huffman::Code;
use crate::codec::entropy::peek_levels::PeekLevels;
use crate::codec::entropy::stream::{INTERLEAVED, NO_SYMBOLS, PeekTable, Symbols};
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::LANES;
use crate::codec::payload::head::{Tiled, plane_place};
use crate::codec::payload::split::Piece;
use crate::codec::payload::unit_halves::put_together;
use crate::codec::simd::fields::{BLOCK, Bits, LaneWords, unpack};
use crate::codec::simd::{self, Kernel, Vectors};

/// Decodes some lanes of some tiles of a row block into `out`.
pub(crate) struct DecodeRows<'a> {
    /// The whole payload.
    pub bytes: &'a [u8],
    pub tiled: &'a Tiled,
    pub tables: &'a Tables,
    pub row_block: usize,
    pub lanes: Range<usize>,
    /// Tiles, counted along the row block.
    pub col_tiles: Range<usize>,
    /// From one lane's first byte in `out` to the next lane's.
    pub stride: usize,
    pub out: &'a mut [u8],
}

/// What streams are read with, each made when it is first needed.
#[derive(Default)]
pub(crate) struct Tables {
    peek: OnceLock<PeekTable>,
    levels: OnceLock<Option<PeekLevels>>,
}

impl Tables {
    fn peek(&self, code: &Code, symbol_bits: u32) -> &PeekTable {
        self.peek.get_or_init(|| PeekTable::new(code, symbol_bits))
    }

    fn levels(&self, code: &Code, symbol_bits: u32) -> Option<&PeekLevels> {
        self.levels.get_or_init(|| PeekLevels::new(code, symbol_bits)).as_ref()
    }
}

impl Kernel for DecodeRows<'_> {
    type Output = Result<(), CodecError>;

    #[inline(always)]
    fn run<V: Vectors>(mut self, vectors: V) -> Result<(), CodecError> {
        let Self { tiled, tables, row_block, .. } = self;
        let by_columns = V::BY_COLUMNS && self.lanes.len() >= LEAST_LANES;
        let levels = by_columns.then(|| tables.levels(&tiled.code, tiled.split.symbol_bits())).flatten();
        let mut buffers = levels.map(|_| Buffers::new(&self));
        for col_tile in self.col_tiles.clone() {
            let starts = self.lane_starts(row_block * tiled.grid.col_tiles + col_tile)?;
            if let Some((levels, buffers)) = levels.zip(buffers.as_mut())
                && self.decode_columns(vectors, levels, col_tile, &starts, buffers)?
            {
                continue;
            }
            self.decode_lanes(vectors, col_tile, &starts)?;
        }
        Ok(())
    }
}

impl DecodeRows<'_> {
    /// Decodes a tile whose lanes' streams begin and end at the bits `starts`, some lanes at a time.
    #[inline(always)]
    fn decode_lanes<V: Vectors>(
        &mut self,
        vectors: V,
        col_tile: usize,
        starts: &[usize; LANES + 1],
    ) -> Result<(), CodecError> {
        let Self { tiled, row_block, .. } = *self;
        let grid = &tiled.grid;
        let unit = tiled.split.unit_bytes();
        let cols = grid.cols_in(col_tile);
        // The first lanes of a tile touch every line of its raw planes, each far from the one before.
        for part in tiled.tile_parts(row_block * grid.col_tiles + col_tile) {
            simd::expect(&self.bytes[part]);
        }
        let table = self.tables.peek(&tiled.code, tiled.split.symbol_bits());
        let pieces = &tiled.split.pieces();
        let (mut symbols, mut lower) = ([NO_SYMBOLS; INTERLEAVED], NO_SYMBOLS);
        for first in self.lanes.clone().step_by(INTERLEAVED) {
            // Where fewer lanes are left, the last one is read more than once.
            let lane = |i: usize| (first + i).min(self.lanes.end - 1);
            let mut at = std::array::from_fn(|i| starts[lane(i)]);
            let symbols = &mut symbols;
            vectors.call(ReadLanes { table, bytes: self.bytes, at: &mut at, cols, symbols });
            for (i, &end) in at.iter().enumerate() {
                if end != starts[lane(i) + 1] {
                    return Err(CodecError::BadStream { row: row_block * LANES + lane(i) });
                }
            }
            for (i, symbols) in symbols.iter_mut().enumerate().take(self.lanes.end - first) {
                let lane = first + i;
                let at = (lane - self.lanes.start) * self.stride + self.place(col_tile, 0);
                let (bytes, lower, out) = (self.bytes, &mut lower, &mut self.out[at..at + unit * cols]);
                vectors.call(JoinLane {
                    bytes,
                    tiled,
                    pieces,
                    row_block,
                    lane,
                    col_tile,
                    symbols,
                    lower,
                    out,
                });
            }
        }
        Ok(())
    }

    /// Where column `first` of a tile is in each row's part of the output.
    #[inline(always)]
    pub(crate) fn place(&self, col_tile: usize, first: usize) -> usize {
        let tile = (col_tile - self.col_tiles.start) * self.tiled.grid.tile_cols;
        self.tiled.split.unit_bytes() * (tile + first)
    }

    /// Where each lane's stream starts, in bits from the start of the payload, and where the last
    /// one ends. All lie inside the tile.
    #[inline(always)]
    fn lane_starts(&self, tile: usize) -> Result<[usize; LANES + 1], CodecError> {
        let tiled = self.tiled;
        let entry = tiled.tiles[tile];
        let index = tiled.coded.start + 4 * entry.word as usize;
        let mut bit = 8 * (index + 4 * entry.index_words());
        let mut starts = [bit; LANES + 1];
        for lane in 0..tiled.grid.rows_in(self.row_block) {
            let more = match entry.wide {
                false => u16::from(self.bytes[index + lane]),
                true => u16::from_le_bytes([self.bytes[index + 2 * lane], self.bytes[index + 2 * lane + 1]]),
            };
            bit += usize::from(entry.base_bits) + usize::from(more);
            starts[lane + 1] = bit;
        }
        let end = match tiled.tiles.get(tile + 1) {
            Some(next) => tiled.coded.start + 4 * next.word as usize,
            None => tiled.coded.end,
        };
        if bit > 8 * end {
            return Err(CodecError::BadStream { row: self.row_block * LANES });
        }
        Ok(starts)
    }
}

/// Reads `cols` symbols of some lanes, whose streams are at the bits `at`.
struct ReadLanes<'a> {
    table: &'a PeekTable,
    bytes: &'a [u8],
    at: &'a mut [usize; INTERLEAVED],
    cols: usize,
    symbols: &'a mut [Symbols; INTERLEAVED],
}

impl Kernel for ReadLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        self.table.read(self.bytes, self.at, self.cols, self.symbols);
    }
}

/// Puts the symbols and the raw planes of one lane of a tile together.
struct JoinLane<'a> {
    bytes: &'a [u8],
    tiled: &'a Tiled,
    /// What the planes have of upper halves, and of lower ones.
    pieces: &'a [Vec<Piece>; 2],
    row_block: usize,
    lane: usize,
    col_tile: usize,
    symbols: &'a mut Symbols,
    /// Room for the lower halves.
    lower: &'a mut Symbols,
    out: &'a mut [u8],
}

impl Kernel for JoinLane<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) {
        match self.tiled.split.unit_bytes() {
            1 => self.join::<1>(vectors),
            2 => self.join::<2>(vectors),
            _ => self.join::<4>(vectors),
        }
    }
}

impl JoinLane<'_> {
    #[inline(always)]
    fn join<const UNIT: usize>(self, vectors: impl Vectors) {
        let Self { tiled, pieces: [upper_pieces, lower_pieces], .. } = self;
        let cols = self.out.len() / UNIT;
        let place = Place { row_block: self.row_block, lane: self.lane, col_tile: self.col_tile, cols };
        let masks = tiled.split.masks();
        let shift = tiled.shifts.of(self.row_block * LANES + self.lane);
        let upper = &mut self.symbols.as_chunks_mut().0[..cols.div_ceil(BLOCK)];
        for symbol in upper.as_flattened_mut() {
            *symbol = masks.join(symbol.wrapping_add(shift), 0);
        }
        add_pieces(vectors, self.bytes, tiled, upper_pieces, place, upper);
        let lower = &mut self.lower.as_chunks_mut().0[..cols.div_ceil(BLOCK)];
        if UNIT == 4 {
            lower.as_flattened_mut().fill(0);
            add_pieces(vectors, self.bytes, tiled, lower_pieces, place, lower);
        }
        put_together(&upper.as_flattened()[..cols], &lower.as_flattened()[..cols], UNIT, self.out);
    }
}

/// A lane of a tile of so many columns.
#[derive(Clone, Copy)]
struct Place {
    row_block: usize,
    lane: usize,
    col_tile: usize,
    cols: usize,
}

/// Adds what the lane has of `pieces` to halves of its units.
#[inline(always)]
fn add_pieces(
    vectors: impl Vectors,
    bytes: &[u8],
    tiled: &Tiled,
    pieces: &[Piece],
    place: Place,
    halves: &mut [[u16; BLOCK]],
) {
    let Place { row_block, lane, col_tile, cols } = place;
    for piece in pieces {
        let plane = &tiled.split.planes()[piece.plane];
        // A clean row has no part in a sparse plane.
        let Some((lane, stride)) = plane_place(plane, &tiled.masks, row_block, lane) else { continue };
        let words = bytes[tiled.planes[piece.plane].clone()].as_chunks().0;
        let first_bit = col_tile * tiled.grid.tile_cols * usize::from(plane.width);
        let at = LaneWords { start: tiled.plane_word(piece.plane, row_block) + lane, stride, first_bit };
        unpack(vectors, words, at, plane.width, Bits { up: piece.up, mask: piece.mask }, cols, halves);
    }
}
