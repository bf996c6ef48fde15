//! The levels of a tensor's rows, and each row's shift.

use rayon::prelude::*;

use super::sampled_rows::SampledRows;
use crate::codec::payload::unit_format::UnitFormat;
use crate::codec::simd::{self, Kernel, Vectors};
use crate::tensor::Dtype;

/// Maximum number of chunks of columns whose mean is a row's level.
const LEVEL_CHUNKS: usize = 32;

const LEVEL_CHUNK: usize = 16;

/// Quarter octaves per step of a row's shift: a step is half an octave.
const SHIFT_STEP: u32 = 2;

/// Largest shift of a row, in steps.
pub(crate) const MAX_SHIFT: u8 = 15;

/// How far the rows of a tensor lie above its quietest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Level of rows with shift 0, in 1/64 of a quarter octave.
    base: u32,
}

impl Levels {
    /// The levels, and the shift of each of `rows`. `None` if there is only one row, or if the type has no
    /// mantissa bits to spare.
    pub fn of_rows(dtype: Dtype, rows: &SampledRows) -> Option<(Self, Vec<u8>)> {
        if UnitFormat::of(dtype).mantissa_bits < 2 || rows.len() < 2 {
            return None;
        }
        let levels = |rows: &[&[u8]]| simd::run(RowLevels { dtype, rows: rows.iter().copied() });
        let all: Vec<u32> = rows.pieces(&rows.all(), levels).flatten_iter().collect();
        let mut levels: Vec<u32> = all.iter().copied().filter(|&l| l > 0).collect();
        // The lowest level except for a few outliers, whose symbols will be escaped.
        let low = levels.len() / 100;
        if levels.is_empty() {
            return None;
        }
        let levels = Self { base: *levels.select_nth_unstable(low).1 };
        Some((levels, all.into_iter().map(|level| levels.shift(level)).collect()))
    }

    /// The shift of each row, in steps.
    pub fn shifts<'a>(self, dtype: Dtype, rows: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = u8> {
        simd::run(RowLevels { dtype, rows }).into_iter().map(move |level| self.shift(level))
    }

    fn shift(self, level: u32) -> u8 {
        let above = level.saturating_sub(self.base);
        ((above + 32 * SHIFT_STEP) / (64 * SHIFT_STEP)).min(u32::from(MAX_SHIFT)) as u8
    }
}

/// The level of each of `rows`.
struct RowLevels<I> {
    dtype: Dtype,
    rows: I,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Kernel for RowLevels<I> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> Vec<u32> {
        let format = UnitFormat::of(self.dtype);
        let mut levels = Vec::with_capacity(self.rows.size_hint().0);
        for row in self.rows {
            levels.push(level(format, row));
        }
        levels
    }
}

/// The mean magnitude of a row on a logarithmic scale: exponent and two mantissa bits read as one
/// number, in 1/64.
#[inline(always)]
fn level(format: UnitFormat, row: &[u8]) -> u32 {
    let shift = format.mantissa_bits - 2;
    let mask = (1u32 << (format.exponent_bits + format.mantissa_bits)) - 1;
    let quarters = |upper: u32| (upper & mask) >> shift;
    let (sum, count) = match format.unit_bytes {
        1 => sum(row, |[byte]| quarters(u32::from(byte))),
        2 => sum(row, |unit| quarters(u32::from(u16::from_le_bytes(unit)))),
        _ => sum(row, |unit| quarters(u32::from_le_bytes(unit) >> 16)),
    };
    64 * sum / count.max(1)
}

/// Sums `of` over some of the row's units, and counts them.
#[inline(always)]
fn sum<const UNIT: usize>(row: &[u8], of: impl Fn([u8; UNIT]) -> u32) -> (u32, u32) {
    let (chunks, rest) = row.as_chunks().0.as_chunks::<LEVEL_CHUNK>();
    let every = chunks.len().div_ceil(LEVEL_CHUNKS).max(1);
    let mut sums = [0u32; LEVEL_CHUNK];
    for chunk in chunks.iter().step_by(every) {
        for (sum, &unit) in sums.iter_mut().zip(chunk) {
            *sum += of(unit);
        }
    }
    let rest = if chunks.len().is_multiple_of(every) { rest } else { &[] };
    let sum = sums.iter().sum::<u32>() + rest.iter().map(|&unit| of(unit)).sum::<u32>();
    (sum, (chunks.len().div_ceil(every) * LEVEL_CHUNK + rest.len()) as u32)
}
