//! Tiles column by column: the values of all lanes in one column are side by side.
//!
//! The raw planes have this order in the file, and a workgroup decodes in it. On a processor with wide
//! vectors, every lane of a tile takes one symbol at a time, and no lane waits for another's look-up. This
//! module works on any processor; [`Vectors`](super::vectors::Vectors) has faster forms.

use super::peek::PeekLevels;
use super::window::window;
use crate::codec::payload::grid::{CHUNK, LANES};
use crate::codec::payload::lane_words::LaneWords;

/// One 16-bit number for each lane.
pub(crate) type Column = [u16; LANES];

/// A chunk of columns.
pub(crate) type Columns = [Column; CHUNK];

/// A chunk of columns, row by row.
pub(crate) type Rows = [[u16; CHUNK]; LANES];

/// Maximum bits of a symbol: an escape and the symbol itself.
const MOST_BITS: usize = 24;

/// Whether streams that start at the bits `at` stay inside `bytes` for `count` symbols, including eight bytes
/// that are read from any place in them.
pub(crate) fn stay_inside(bytes: &[u8], at: &[u32; LANES], count: usize) -> bool {
    let last = at.iter().max().map_or(0, |&bit| bit as usize);
    (last + MOST_BITS * count) / 8 + 8 <= bytes.len()
}

/// Reads a symbol for each column from each lane's stream. The streams begin at the bits `at` of `bytes`, and
/// `at` moves to their ends. Bits above a symbol's 12 are arbitrary.
#[inline(always)]
pub(crate) fn read(levels: &PeekLevels, bytes: &[u8], at: &mut [u32; LANES], columns: &mut [Column]) {
    for column in columns {
        for (symbol, at) in column.iter_mut().zip(&mut *at) {
            *symbol = levels.look_up((window(bytes, *at as usize) as u16).reverse_bits());
            let len = u32::from(*symbol >> 12);
            *at += len;
            if len == 0 {
                *symbol = read_escaped(levels, bytes, at);
            }
        }
    }
}

/// Reads the symbol whose escape begins at bit `at`, and moves `at` past it.
#[inline(always)]
pub(crate) fn read_escaped(levels: &PeekLevels, bytes: &[u8], at: &mut u32) -> u16 {
    let symbol = window(bytes, *at as usize) >> levels.escape;
    *at += levels.escape + levels.symbol_bits;
    symbol as u16 & ((1 << levels.symbol_bits) - 1)
}

/// The fields of a plane of `width` bits for a chunk, in 16-bit pieces: one piece per bit of the width. `at`
/// gives the words of all lanes.
#[inline(always)]
pub(crate) fn pieces_of_16(words: &[[u8; 4]], at: LaneWords, width: usize, halves: &mut [Column]) {
    for (i, half) in halves[..width].iter_mut().enumerate() {
        let bit = at.first_bit + 16 * i;
        let words: &[[u8; 4]; LANES] =
            words[at.start + bit / 32 * at.stride..].first_chunk().expect("a plane has all lanes' words");
        *half = match bit % 32 {
            0 => words.map(|word| u16::from_le_bytes([word[0], word[1]])),
            _ => words.map(|word| u16::from_le_bytes([word[2], word[3]])),
        };
    }
}

/// The operations that make halves of units from a chunk of symbols.
#[derive(Debug)]
pub(crate) struct Join {
    /// The number to add to each lane's symbols.
    pub shifts: Column,
    /// How many bits the symbols are rotated left, and the bits to keep; two such pairs, whose results are
    /// combined.
    pub own: [(u16, u16); 2],
    pub fields: Vec<Field>,
}

/// The bits that a plane adds to each half.
#[derive(Debug)]
pub(crate) struct Field {
    /// For each column of a chunk, the index of its field's 16-bit piece, and how many bits that is rotated
    /// left.
    pub places: [(u16, u16); CHUNK],
    /// The bits to keep after that.
    pub mask: u16,
}

impl Field {
    /// The bits `mask` of a plane of `width` bits, after its fields are rotated left by `up`. Its 16-bit
    /// pieces begin at index `first`.
    pub fn new(first: usize, width: usize, up: u8, mask: u16) -> Self {
        let place = |column: usize| {
            let bit = width * column;
            ((first + bit / 16) as u16, ((16 + usize::from(up) - bit % 16) % 16) as u16)
        };
        Self { places: std::array::from_fn(place), mask }
    }
}

/// Makes halves of units from the symbols in `columns` and the fields in `pieces`.
#[inline(always)]
pub(crate) fn join(join: &Join, pieces: &[Column], columns: &mut Columns) {
    let turned = |number: u16, (up, mask): (u16, u16)| number.rotate_left(u32::from(up)) & mask;
    for (i, column) in columns.iter_mut().enumerate() {
        for (number, shift) in column.iter_mut().zip(&join.shifts) {
            let shifted = number.wrapping_add(*shift);
            *number = turned(shifted, join.own[0]) | turned(shifted, join.own[1]);
        }
        for field in &join.fields {
            let (piece, up) = field.places[i];
            for (number, piece) in column.iter_mut().zip(&pieces[usize::from(piece)]) {
                *number |= turned(*piece, (up, field.mask));
            }
        }
    }
}

/// Transposes columns to rows.
#[inline(always)]
pub(crate) fn transpose(columns: &Columns, rows: &mut Rows) {
    for (lane, row) in rows.iter_mut().enumerate() {
        for (field, column) in row.iter_mut().zip(columns) {
            *field = column[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Portable, Vectors, each};
    use super::*;
    use crate::codec::entropy::bit_writer::BitWriter;
    use crate::codec::entropy::codebook::Codebook;
    use crate::codec::payload::code::Code;
    use proptest::prelude::*;

    /// All forms of these operations, one after the other.
    #[derive(Clone, Copy)]
    struct All<'a> {
        levels: &'a PeekLevels,
        bytes: &'a [u8],
        at: [u32; LANES],
        join: &'a Join,
        pieces: &'a [Column],
        count: usize,
    }

    impl Kernel for All<'_> {
        type Output = ([u32; LANES], Vec<Column>, Columns, Rows);

        #[inline(always)]
        fn run<V: Vectors>(mut self, vectors: V) -> Self::Output {
            let mut symbols = vec![[0; LANES]; self.count];
            vectors.read_columns(self.levels, self.bytes, &mut self.at, &mut symbols);
            symbols.iter_mut().for_each(|column| column.iter_mut().for_each(|symbol| *symbol &= 0xfff));
            let mut columns = [[0; LANES]; CHUNK];
            columns.iter_mut().zip(&symbols).for_each(|(column, symbols)| *column = *symbols);
            vectors.join_columns(self.join, self.pieces, &mut columns);
            let mut rows = [[0; CHUNK]; LANES];
            vectors.transpose(&columns, &mut rows);
            (self.at, symbols, columns, rows)
        }
    }

    proptest! {
        #[test]
        fn columns_are_read_and_joined_alike_everywhere(
            weights in prop::collection::vec(1u64..50_000, 2..200),
            picks in prop::collection::vec(any::<u16>(), LANES * 40),
            steep: bool,
            open: bool,
            count in 1usize..=40,
        ) {
            let weight = |(i, &weight): (usize, &u64)| if steep { weight << (i % 16) } else { weight };
            let weights: Vec<u64> = weights.iter().enumerate().map(weight).collect();
            let code = Code::for_counts(&weights, 8, 11, open).unwrap();
            let levels = PeekLevels::new(&code, 8).unwrap();
            let coded = |i: u16| code.lengths[usize::from(i)] > 0;
            let known: Vec<u16> = (0..code.lengths.len() as u16).filter(|&i| coded(i)).map(|i| code.first + i).collect();
            let symbols: Vec<u16> = picks
                .iter()
                .map(|&pick| match code.escape > 0 && pick % 64 == 0 {
                    true => pick >> 8,
                    false => known[usize::from(pick) % known.len()],
                })
                .collect();
            let book = Codebook::new(&code, 8);
            let mut writer = BitWriter::new(symbols.len());
            let (mut starts, mut ends) = ([0; LANES], [0; LANES]);
            for (lane, symbols) in symbols.chunks(40).enumerate() {
                starts[lane] = writer.len() as u32;
                writer.put(Portable, &book, &symbols[..count]);
                ends[lane] = writer.len() as u32;
            }
            let mut bytes = writer.finish().to_vec();
            bytes.resize(bytes.len() + MOST_BITS * 40 / 8 + 8, 0x5a);
            prop_assert!(stay_inside(&bytes, &starts, count));

            let piece = |i: u16| std::array::from_fn(|lane| picks[usize::from(i)].wrapping_mul(2 * lane as u16 + 1));
            let pieces: Vec<Column> = (0..8).map(piece).collect();
            let fields = vec![Field::new(0, 4, 2, 0x3c), Field::new(4, 1, 15, 0x8000)];
            let own = [(11, 0x7f80), (1, if open { 3 } else { 0 })];
            let join = Join { shifts: pieces[7], own, fields };
            let all = All { levels: &levels, bytes: &bytes, at: starts, join: &join, pieces: &pieces, count };
            let (at, read, columns, rows) = all.run(Portable);
            prop_assert_eq!(at, ends);
            for (lane, symbols) in symbols.chunks(40).enumerate() {
                prop_assert!(read.iter().zip(symbols).all(|(column, symbol)| column[lane] == *symbol));
                prop_assert!(columns.iter().zip(rows[lane]).all(|(column, field)| column[lane] == field));
            }
            let expected = (at, read, columns, rows);
            prop_assert!(each(|| all).iter().all(|found| *found == expected));
        }
    }
}
