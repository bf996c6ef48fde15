//! Decoding a tile by lanes: a few lanes' streams are read side by side, and each lane is assembled by
//! itself.

use super::tiles::DecodeTiles;
use crate::codec::entropy::stream::{INTERLEAVED, NO_SYMBOLS, PeekTable, Symbols};
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::LANES;
use crate::codec::payload::lane_words::LaneWords;
use crate::codec::payload::masks::Piece;
use crate::codec::payload::tiled::{Tiled, plane_place};
use crate::codec::payload::unit_halves::put_together;
use crate::codec::simd::block::{BLOCK, Bits};
use crate::codec::simd::fields::unpack;
use crate::codec::simd::{self, Kernel, Vectors};

impl DecodeTiles<'_> {
    /// Decodes a tile whose lanes' streams begin and end at the bits `starts`, a few lanes at a time.
    #[inline(always)]
    pub(crate) fn decode_lanes<V: Vectors>(
        &mut self,
        vectors: V,
        col_tile: usize,
        starts: &[usize; LANES + 1],
    ) -> Result<(), CodecError> {
        let (bytes, tiled, readers) = (self.from.bytes, self.from.tiled, self.from.readers);
        let (row_block, lanes) = (self.part.row_block, self.part.lanes.clone());
        let grid = &tiled.grid;
        let unit = tiled.split.unit_bytes();
        let cols = grid.cols_in(col_tile);
        // The first lanes of a tile touch every cache line of its raw planes, and these lines are far apart.
        for part in tiled.tile_parts(row_block * grid.col_tiles + col_tile) {
            simd::expect(&bytes[part]);
        }
        let table = readers.peek(&tiled.code, tiled.split.symbol_bits());
        let pieces = &tiled.split.pieces();
        let (mut symbols, mut lower) = ([NO_SYMBOLS; INTERLEAVED], NO_SYMBOLS);
        for first in lanes.clone().step_by(INTERLEAVED) {
            // If fewer lanes are left, the last one is read more than once.
            let lane = |i: usize| (first + i).min(lanes.end - 1);
            let mut at = std::array::from_fn(|i| starts[lane(i)]);
            let symbols = &mut symbols;
            vectors.call(ReadLanes { table, bytes, at: &mut at, cols, symbols });
            for (i, &end) in at.iter().enumerate() {
                if end != starts[lane(i) + 1] {
                    return Err(CodecError::BadStream { row: row_block * LANES + lane(i) });
                }
            }
            for (i, symbols) in symbols.iter_mut().enumerate().take(lanes.end - first) {
                let lane = first + i;
                let at = (lane - lanes.start) * self.stride + self.place(col_tile, 0);
                let (lower, out) = (&mut lower, &mut self.out[at..at + unit * cols]);
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
}

/// Reads `cols` symbols of a few lanes, whose streams start at the bits `at`.
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

/// Assembles one lane of a tile from its symbols and raw planes.
struct JoinLane<'a> {
    bytes: &'a [u8],
    tiled: &'a Tiled,
    /// The planes' bits of upper halves, and of lower halves.
    pieces: &'a [Vec<Piece>; 2],
    row_block: usize,
    lane: usize,
    col_tile: usize,
    symbols: &'a mut Symbols,
    /// Scratch memory for the lower halves.
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

/// A lane of a tile, and the tile's number of columns.
#[derive(Clone, Copy)]
struct Place {
    row_block: usize,
    lane: usize,
    col_tile: usize,
    cols: usize,
}

/// Adds the lane's bits of `pieces` to halves of its units.
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
        // A clean row has no bits in a sparse plane.
        let Some((lane, stride)) = plane_place(plane, &tiled.masks, row_block, lane) else { continue };
        let words = bytes[tiled.planes[piece.plane].clone()].as_chunks().0;
        let first_bit = col_tile * tiled.grid.tile_cols * usize::from(plane.width);
        let at = LaneWords { start: tiled.plane_word(piece.plane, row_block) + lane, stride, first_bit };
        unpack(vectors, words, at, plane.width, Bits { up: piece.up, mask: piece.mask }, cols, halves);
    }
}
