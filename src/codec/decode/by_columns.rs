//! Decoding a tile by columns: every lane reads one symbol at a time.

use super::tiles::DecodeTiles;
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::{CHUNK, LANES};
use crate::codec::payload::lane_words::LaneWords;
use crate::codec::payload::masks::Piece;
use crate::codec::payload::row_tables::RowMask;
use crate::codec::payload::unit_halves::{put_chunk, put_together};
use crate::codec::simd::columns::{Column, Columns, Field, Join, Rows, pieces_of_16, stay_inside};
use crate::codec::simd::peek::PeekLevels;
use crate::codec::simd::{self, Vectors};

/// Chunks that are read, joined and written together: they fill cache lines with 16-bit units.
const CHUNKS: usize = 2;

/// With fewer lanes, decoding row by row is faster.
pub(crate) const LEAST_LANES: usize = 16;

/// Maximum number of 16-bit pieces that the raw planes have for a chunk: no more bits than a unit has.
const MAX_PIECES: usize = 32;

/// Symbols and planes of a few chunks, which are read and joined here before they are written.
pub(crate) struct Buffers {
    joins: [Join; 2],
    symbols: [Columns; CHUNKS],
    pieces: [Column; MAX_PIECES],
    lower: Columns,
    rows: [Rows; CHUNKS],
    lower_rows: [Rows; CHUNKS],
}

impl Buffers {
    pub fn new(tiles: &DecodeTiles) -> Self {
        let columns = [[0; LANES]; CHUNK];
        let joins = tiles.joins();
        let rows = [[[0; CHUNK]; LANES]; CHUNKS];
        let pieces = [[0; LANES]; MAX_PIECES];
        Self { joins, symbols: [columns; CHUNKS], pieces, lower: columns, rows, lower_rows: rows }
    }
}

impl DecodeTiles<'_> {
    /// Decodes a tile whose lanes' streams begin and end at the bits `starts`. Returns `false` if streams lie
    /// so close to the end of the payload that reads might pass it.
    #[inline(always)]
    pub(crate) fn decode_columns<V: Vectors>(
        &mut self,
        vectors: V,
        levels: &PeekLevels,
        col_tile: usize,
        starts: &[usize; LANES + 1],
        buffers: &mut Buffers,
    ) -> Result<bool, CodecError> {
        let cols = self.from.tiled.grid.cols_in(col_tile);
        let base = starts[0] / 8;
        let bytes = &self.from.bytes[base..];
        // Lanes outside the part repeat one inside it.
        let known = |lane| if self.part.lanes.contains(&lane) { lane } else { self.part.lanes.start };
        let mut at: [u32; LANES] = std::array::from_fn(|lane| (starts[known(lane)] - 8 * base) as u32);
        if !stay_inside(bytes, &at, cols) {
            return Ok(false);
        }
        let next =
            self.from.tiled.tile_parts(self.part.row_block * self.from.tiled.grid.col_tiles + col_tile + 1);
        for first in (0..cols).step_by(CHUNKS * CHUNK) {
            let count = (cols - first).min(CHUNKS * CHUNK);
            // Prefetch a share of the next tile, so that these loads are spread out.
            for part in &next {
                let share = |col: usize| part.start + part.len() * col / cols;
                simd::expect(&self.from.bytes[share(first)..share(first + count)]);
            }
            let symbols = buffers.symbols.as_flattened_mut();
            vectors.read_columns(levels, bytes, &mut at, &mut symbols[..count]);
            self.write_columns(vectors, col_tile, first, count, buffers);
        }
        for lane in self.part.lanes.clone() {
            if at[lane] as usize + 8 * base != starts[lane + 1] {
                return Err(CodecError::BadStream { row: self.part.row_block * LANES + lane });
            }
        }
        Ok(true)
    }

    /// Writes `count` columns of a tile from column `first` on, whose symbols have been read.
    #[inline(always)]
    fn write_columns<V: Vectors>(
        &mut self,
        vectors: V,
        col_tile: usize,
        first: usize,
        count: usize,
        buffers: &mut Buffers,
    ) {
        let unit = self.from.tiled.split.unit_bytes();
        for i in 0..count.div_ceil(CHUNK) {
            let col = col_tile * self.from.tiled.grid.tile_cols + first + i * CHUNK;
            self.take_planes(col, &mut buffers.pieces);
            let [upper, lower] = &buffers.joins;
            vectors.join_columns(upper, &buffers.pieces, &mut buffers.symbols[i]);
            vectors.transpose(&buffers.symbols[i], &mut buffers.rows[i]);
            if unit == 4 {
                vectors.join_columns(lower, &buffers.pieces, &mut buffers.lower);
                vectors.transpose(&buffers.lower, &mut buffers.lower_rows[i]);
            }
        }
        let at = self.place(col_tile, first);
        match unit {
            1 => self.write_rows::<1>(at, count, buffers),
            2 => self.write_rows::<2>(at, count, buffers),
            _ => self.write_rows::<4>(at, count, buffers),
        }
    }

    /// Writes `count` units of `UNIT` bytes to each row, at its byte `at`.
    #[inline(always)]
    fn write_rows<const UNIT: usize>(&mut self, at: usize, count: usize, buffers: &Buffers) {
        for (i, lane) in self.part.lanes.clone().enumerate() {
            let out = &mut self.out[at + i * self.stride..][..UNIT * count];
            let (whole, rest) = out.split_at_mut(count / CHUNK * CHUNK * UNIT);
            for (out, chunk) in whole.chunks_exact_mut(UNIT * CHUNK).zip(0..) {
                put_chunk::<UNIT>(&buffers.rows[chunk][lane], &buffers.lower_rows[chunk][lane], out);
            }
            if !rest.is_empty() {
                let (chunk, left) = (count / CHUNK, count % CHUNK);
                let (upper, lower) = (&buffers.rows[chunk][lane], &buffers.lower_rows[chunk][lane]);
                put_together(&upper[..left], &lower[..left], UNIT, rest);
            }
        }
    }

    /// Splits the raw planes of the chunk at column `col` of the matrix into 16-bit pieces.
    #[inline(always)]
    fn take_planes(&self, col: usize, pieces: &mut [Column; MAX_PIECES]) {
        let mut first = 0;
        for (i, plane) in self.from.tiled.split.planes().iter().enumerate() {
            let width = usize::from(plane.width);
            let pieces = &mut pieces[first..];
            first += width;
            let words = self.from.bytes[self.from.tiled.planes[i].clone()].as_chunks().0;
            let start = self.from.tiled.plane_word(i, self.part.row_block);
            let at = LaneWords { start, stride: LANES, first_bit: col * width };
            match self.from.tiled.masks.get(self.part.row_block) {
                Some(mask) if plane.is_sparse() && mask.count() < LANES => {
                    let (words, first_bit) = (all_lanes(words, at, plane.width, mask), at.first_bit % 32);
                    pieces_of_16(&words, LaneWords { start: 0, first_bit, ..at }, width, pieces);
                }
                _ => pieces_of_16(words, at, width, pieces),
            }
        }
    }

    /// How the upper halves of the row block's units are assembled, and how the lower halves.
    fn joins(&self) -> [Join; 2] {
        let split = &self.from.tiled.split;
        // The 16-bit pieces are those of the first plane, then those of the second, and so on.
        let before =
            |plane: usize| split.planes()[..plane].iter().map(|plane| usize::from(plane.width)).sum();
        let field = |piece: &Piece| {
            let width = usize::from(split.planes()[piece.plane].width);
            Field::new(before(piece.plane), width, piece.up, piece.mask)
        };
        let [upper, lower] = split.pieces().map(|pieces| pieces.iter().map(field).collect());
        let shifts =
            std::array::from_fn(|lane| self.from.tiled.shifts.of(self.part.row_block * LANES + lane));
        let own = split.masks().of_symbol().map(|(up, mask)| (u16::from(up), mask));
        [Join { shifts, own, fields: upper }, Join { shifts: [0; LANES], own: [(0, 0); 2], fields: lower }]
    }
}

/// A chunk's words of a sparse plane, with zeros for clean lanes.
#[cold]
fn all_lanes(words: &[[u8; 4]], at: LaneWords, width: u8, mask: &RowMask) -> [[u8; 4]; 8 * LANES] {
    let mut all = [[0; 4]; 8 * LANES];
    for (i, all) in all.chunks_exact_mut(LANES).enumerate().take((CHUNK * usize::from(width)).div_ceil(32)) {
        let first = at.start + (at.first_bit / 32 + i) * mask.count();
        for (lane, word) in all.iter_mut().enumerate() {
            if let Some(place) = mask.place(lane) {
                *word = words[first + place];
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::part::{Part, TiledPayload};
    use super::*;
    use crate::codec::encode::encode_with_split;
    use crate::codec::payload::head::{Head, Kind};
    use crate::codec::payload::split::Split;
    use crate::codec::simd::block::BLOCK;
    use crate::codec::simd::{Kernel, Portable};
    use crate::tensor::Dtype;

    /// The portable operations, but decoding by columns as only some processors do.
    #[derive(Debug, Clone, Copy)]
    struct ByColumns;

    impl Vectors for ByColumns {
        const BY_COLUMNS: bool = true;

        fn pack<const W: u32>(self, block: &[u16; BLOCK], shift: u8) -> [u64; 2] {
            Portable.pack::<W>(block, shift)
        }

        fn call<K: Kernel>(self, kernel: K) -> K::Output {
            kernel.run(self)
        }
    }

    /// Units with few different exponents; every third row is clean.
    fn units(split: &Split, rows: usize, cols: usize) -> Vec<u8> {
        let (exponent_bits, mantissa_bits) = match split.dtype {
            Dtype::F32 => (8, 23),
            Dtype::BF16 => (8, 7),
            Dtype::F16 => (5, 10),
            Dtype::F8_E4M3 => (4, 3),
            Dtype::F8_E5M2 => (5, 2),
            _ => (8, 0),
        };
        let exponents = ((1 << exponent_bits) - 1) << mantissa_bits;
        let mut state = 1u64;
        let mut unit = |row: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let any = (state >> 32) as u32;
            let common = any & !exponents | (any.trailing_zeros() & 7) << mantissa_bits;
            let unit = if any >> 8 & 127 == 0 { any } else { common };
            if row.is_multiple_of(3) { unit & !0 << split.clean_bits } else { unit }
        };
        let bytes =
            (0..rows * cols).flat_map(|i| unit(i / cols).to_le_bytes().into_iter().take(split.unit_bytes()));
        bytes.collect()
    }

    #[test]
    fn every_split_comes_back_by_columns() {
        use Dtype::*;
        let bf16 = [(0, 0), (1, 0), (2, 0), (1, 4), (0, 6), (2, 1)].map(|(top, clean)| (BF16, top, 0, clean));
        let f32 = [(1, 0), (0, 13), (2, 16)].map(|(top, clean)| (F32, top, 0, clean));
        let f16 = [(0, 0, 0), (3, 0, 3), (2, 4, 0)].map(|(top, low, clean)| (F16, top, low, clean));
        let bytes = [(F8_E4M3, 1), (F8_E5M2, 2), (I8, 0)].map(|(dtype, top)| (dtype, top, 0, 0));
        for (dtype, top, low, clean) in bf16.into_iter().chain([f32, f16, bytes].into_iter().flatten()) {
            for (rows, cols) in [(64, 96), (190, 79), (127, 601)] {
                let split = Split::new(dtype, top, low, clean).unwrap();
                let data = units(&split, rows, cols);
                let payload = encode_with_split(&[rows, cols], &data, split).unwrap();
                let head = Head::parse(&payload).unwrap();
                let Kind::Tiled(tiled) = &head.kind else { panic!("{split:?} is not tiled") };
                let mut restored = vec![0; data.len()];
                for (row_block, out) in restored.chunks_mut(tiled.row_block_bytes()).enumerate() {
                    let lanes = 0..tiled.grid.rows_in(row_block);
                    let col_tiles = 0..tiled.grid.col_tiles;
                    let readers = &Default::default();
                    let from = TiledPayload { bytes: &payload, tiled, readers };
                    let part = Part { row_block, lanes, col_tiles };
                    let tiles = DecodeTiles { from, part, stride: tiled.row_bytes(), out };
                    tiles.run(ByColumns).unwrap();
                }
                assert!(restored == data, "{split:?} {rows} x {cols}");
            }
        }
    }
}
