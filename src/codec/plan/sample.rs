//! The statistics of a sample of a tensor's rows, for planning its coding: counts of symbols, and clean rows.

use rayon::prelude::*;

use super::levels::{Levels, MAX_SHIFT};
use super::sampled_rows::{SampledRows, rows_apart};
use super::source_rows::SourceRows;
use crate::codec::payload::grid::MAX_TILE_COLS;
use crate::codec::payload::split::{ALPHABET, Split};
use crate::codec::payload::unit_format::UnitFormat;
use crate::codec::payload::unit_halves::take_apart;
use crate::codec::simd::{self, Kernel, Vectors};
use crate::tensor::{Dtype, Matrix};

/// The counts of a sample.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The split whose symbols were counted.
    pub finest: Split,
    /// How often each symbol occurs.
    pub counts: Vec<u64>,
    /// The same counts after each row's shift is subtracted from its symbols; `None` if rows are alike.
    pub shifted: Option<(Levels, Vec<u64>)>,
    /// Rows in the sample.
    pub rows: usize,
    /// How many of them are clean, for each possible number of clean bits.
    pub clean_rows: Vec<(u8, usize)>,
    /// Whether the sample has all rows.
    pub complete: bool,
}

impl Sample {
    /// Counts a sample of the rows of `source`, a matrix of units.
    pub fn take(source: &SourceRows, matrix: Matrix) -> Option<Self> {
        let dtype = source.dtype;
        let finest = finest(dtype)?;
        let every = rows_apart(matrix, source.rounding().is_some());
        let rows = &SampledRows::new(source, matrix, every);
        let shifted = Levels::of_rows(dtype, rows);
        let (levels, shifts) = shifted.map_or((None, vec![0; rows.len()]), |(l, shifts)| (Some(l), shifts));
        let mut sample = Self {
            finest,
            counts: vec![0; 1 << finest.symbol_bits()],
            shifted: levels.map(|levels| (levels, vec![0; 1 << finest.symbol_bits()])),
            rows: rows.len(),
            clean_rows: Vec::new(),
            complete: every == 1,
        };
        for shift in 0..=MAX_SHIFT {
            let alike: Vec<usize> = (0..rows.len()).filter(|&row| shifts[row] == shift).collect();
            sample.count(rows, &alike, shift);
        }
        if !clean_choices(dtype).is_empty() {
            let of_rows =
                |rows: &[&[u8]]| rows.iter().map(|row| clean_bits(dtype, row)).collect::<Vec<u32>>();
            let clean: Vec<u32> = rows.pieces(&rows.all(), of_rows).flatten_iter().collect();
            let clean = |bits: u8| clean.iter().filter(|&&clean| clean >= u32::from(bits)).count();
            sample.clean_rows = clean_choices(dtype).iter().map(|&bits| (bits, clean(bits))).collect();
        }
        Some(sample)
    }

    /// Counts those of `rows` that are `alike` and have this shift, so that each symbol is counted only once.
    fn count(&mut self, rows: &SampledRows, alike: &[usize], shift: u8) {
        if alike.is_empty() {
            return;
        }
        let count = |rows: &[&[u8]]| simd::run(Count { split: &self.finest, rows });
        // Sums as it goes, because all tables together would have an eighth of the sample's size.
        let none = || vec![0u64; ALPHABET];
        let add = |mut sums: Vec<u64>, tables: Vec<[u32; ALPHABET]>| {
            for table in tables {
                sums.iter_mut().zip(table).for_each(|(sum, n)| *sum += u64::from(n));
            }
            sums
        };
        let both = |mut sums: Vec<u64>, more: Vec<u64>| {
            sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
            sums
        };
        let sums = rows.pieces(alike, count).fold(none, add).reduce(none, both);
        let mask = self.counts.len() - 1;
        for (symbol, n) in self.counts.iter_mut().enumerate() {
            let times = sums[symbol];
            *n += times;
            if let Some((_, shifted)) = &mut self.shifted {
                let shift = usize::from(shift) << shift_unit(&self.finest);
                shifted[symbol.wrapping_sub(shift) & mask] += times;
            }
        }
    }
}

/// Counts the symbols of `rows`.
struct Count<'a> {
    split: &'a Split,
    rows: &'a [&'a [u8]],
}

impl Kernel for Count<'_> {
    /// Two alternating tables: with one, equal neighbours would wait for each other's store.
    type Output = Vec<[u32; ALPHABET]>;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> Self::Output {
        let mut tables = vec![[0u32; ALPHABET]; 2];
        let [even, odd] = &mut tables[..] else { unreachable!("there are two") };
        let (masks, unit) = (self.split.masks(), self.split.unit_bytes());
        let mut symbols = [0; MAX_TILE_COLS];
        let mut lower = [0; MAX_TILE_COLS];
        for row in self.rows {
            for part in row.chunks(unit * MAX_TILE_COLS) {
                let symbols = &mut symbols[..part.len() / unit];
                take_apart(part, unit, symbols, &mut lower);
                for symbol in symbols.iter_mut() {
                    *symbol = masks.symbol_of(*symbol);
                }
                let (pairs, rest) = symbols.as_chunks::<2>();
                for [a, b] in pairs {
                    even[usize::from(*a) % ALPHABET] += 1;
                    odd[usize::from(*b) % ALPHABET] += 1;
                }
                for a in rest {
                    even[usize::from(*a) % ALPHABET] += 1;
                }
            }
        }
        tables
    }
}

/// The split with the most coded bits. The counts of all other splits are sums of its counts.
fn finest(dtype: Dtype) -> Option<Split> {
    let (t, b) = match dtype {
        Dtype::F32 | Dtype::BF16 => (2, 0),
        Dtype::F16 => (3, 4),
        _ => (UnitFormat::of(dtype).mantissa_bits, 0),
    };
    Split::new(dtype, t, b, 0)
}

/// Numbers of clean bits worth trying: the bits of an element below the 8-bit mantissa of an F16 or a BF16,
/// and those of a BF16 below the mantissa of an F8_E5M2 or an F8_E4M3.
fn clean_choices(dtype: Dtype) -> &'static [u8] {
    match dtype {
        Dtype::F32 => &[8, 13, 16],
        Dtype::F16 => &[3],
        Dtype::BF16 => &[4, 5],
        _ => &[],
    }
}

/// How many bits a shift must be moved left before it is subtracted from a symbol of `split`. A step is half
/// an octave, so at least one mantissa bit must be coded.
pub(crate) fn shift_unit(split: &Split) -> u8 {
    split.top_bits - 1 + split.low_bits
}

/// Lowest bits that are zero in all units of a row.
fn clean_bits(dtype: Dtype, row: &[u8]) -> u32 {
    match UnitFormat::of(dtype).unit_bytes {
        2 => row.as_chunks().0.iter().fold(0, |all, &b| all | u16::from_le_bytes(b)).trailing_zeros(),
        _ => row.as_chunks().0.iter().fold(0, |all, &b| all | u32::from_le_bytes(b)).trailing_zeros(),
    }
}
