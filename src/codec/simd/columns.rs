//! Tiles column by column: what all lanes have in one column stands side by side.
//!
//! That is how the raw planes lie in the file, and how a workgroup decodes. On a processor with wide
//! enough vectors the lanes of a tile take a symbol each at a time, and no lane waits for another's
//! look-up. What is here is for any processor; [`Vectors`](super::vectors::Vectors) has what is faster.

use super::peek::PeekLevels;
use super::window::window;
use crate::codec::payload::grid::{CHUNK, LANES};
use crate::codec::payload::lane_words::LaneWords;

/// One 16-bit number for each lane.
pub(crate) type Column = [u16; LANES];

/// A chunk of columns.
pub(crate) type Columns = [Column; CHUNK];

/// A chunk of each row.
pub(crate) type Rows = [[u16; CHUNK]; LANES];

/// Most bits that a symbol can take: an escape and the symbol itself.
const MOST_BITS: usize = 24;

/// Whether no stream that starts at a bit of `at` can leave `bytes` within `count` symbols, nor eight
/// bytes that are read from anywhere in it.
pub(crate) fn stay_inside(bytes: &[u8], at: &[u32; LANES], count: usize) -> bool {
    let last = at.iter().max().map_or(0, |&bit| bit as usize);
    (last + MOST_BITS * count) / 8 + 8 <= bytes.len()
}

/// Reads a symbol for each column from each lane's stream, which begin at the bits `at` of `bytes`, and
/// moves `at` to where they end. Above a symbol's 12 bits may stand anything.
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

/// Reads the symbol whose escape begins at bit `at`, and moves `at` behind it.
#[inline(always)]
pub(crate) fn read_escaped(levels: &PeekLevels, bytes: &[u8], at: &mut u32) -> u16 {
    let symbol = window(bytes, *at as usize) >> levels.escape;
    *at += levels.escape + levels.symbol_bits;
    symbol as u16 & ((1 << levels.symbol_bits) - 1)
}

/// The fields that a plane of `width` bits has for a chunk, in pieces of 16 bits: one piece for each bit of
/// the width. `at` says where the words of all lanes lie.
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

/// What is done to a chunk of numbers to make halves of units of them.
#[derive(Debug)]
pub(crate) struct Join {
    /// What is added to each lane's number.
    pub shifts: Column,
    /// How far the numbers are rotated up, and which bits of that are kept; twice, and both are put
    /// together.
    pub own: [(u16, u16); 2],
    pub fields: Vec<Field>,
}

/// Bits that a plane gives to each number.
#[derive(Debug)]
pub(crate) struct Field {
    /// For each column of a chunk, where its field is: the index among the pieces of 16 bits, and how far
    /// they are rotated up.
    pub places: [(u16, u16); CHUNK],
    /// The bits that are kept then.
    pub mask: u16,
}

impl Field {
    /// Of a plane of `width` bits whose pieces of 16 begin at `first`, the bits `mask` once the fields
    /// are rotated `up`.
    pub fn new(first: usize, width: usize, up: u8, mask: u16) -> Self {
        let place = |column: usize| {
            let bit = width * column;
            ((first + bit / 16) as u16, ((16 + usize::from(up) - bit % 16) % 16) as u16)
        };
        Self { places: std::array::from_fn(place), mask }
    }
}

/// Makes halves of units of `columns`, with fields from `pieces`.
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

/// Columns as rows.
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

    /// Everything here, one after the other.
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
