//! Statistics of some of a tensor's rows, from which its coding is planned.

use super::split::{ALPHABET, Layout, Split};
use crate::tensor::{Dtype, Matrix};

/// At least so many units are looked at; of smaller tensors all are.
const SAMPLE_UNITS: usize = 1 << 16;

/// Of large tensors one row in so many is looked at.
const SAMPLE_SHARE: usize = 16;

/// A row's level is the mean over at most so many chunks of columns.
const LEVEL_CHUNKS: usize = 32;

const LEVEL_CHUNK: usize = 16;

/// Quarter octaves that one step of a row's shift stands for: half an octave.
pub(super) const SHIFT_STEP: u32 = 2;

/// Largest shift of a row, in steps.
pub(super) const MAX_SHIFT: u8 = 15;

/// How far the rows of a tensor lie above its quietest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Levels {
    /// Level of rows with shift 0, in 1/64 of a quarter octave.
    base: u32,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Sample {
    /// The split whose symbols were counted.
    pub finest: Split,
    /// How often each symbol occurs.
    pub counts: Vec<u64>,
    /// The same with each row's shift taken off its symbols; `None` where rows are alike.
    pub shifted: Option<(Levels, Vec<u64>)>,
    /// Rows looked at.
    pub rows: usize,
    /// How many of them are clean, for each possible number of clean bits.
    pub clean_rows: Vec<(u8, usize)>,
    /// Whether all rows were looked at.
    pub complete: bool,
}

impl Sample {
    /// Looks at rows of `data`, a matrix of units of `dtype`.
    pub fn take(dtype: Dtype, matrix: Matrix, data: &[u8]) -> Option<Self> {
        let finest = finest(dtype)?;
        let row_bytes = matrix.cols * finest.unit_bytes();
        let every = (matrix.len() / SAMPLE_UNITS).clamp(1, SAMPLE_SHARE);
        let rows: Vec<&[u8]> = data.chunks_exact(row_bytes).step_by(every).collect();
        let levels = Levels::of_rows(dtype, &rows);
        let mut sample = Self {
            finest,
            counts: vec![0; 1 << finest.symbol_bits()],
            shifted: levels.map(|levels| (levels, vec![0; 1 << finest.symbol_bits()])),
            rows: rows.len(),
            clean_rows: clean_choices(dtype).iter().map(|&bits| (bits, 0)).collect(),
            complete: every == 1,
        };
        sample.count(dtype, &rows);
        Some(sample)
    }

    fn count(&mut self, dtype: Dtype, rows: &[&[u8]]) {
        // Two tables in turn: with one, equal neighbours wait for each other's store.
        let mut tables = vec![[0u32; ALPHABET]; 4];
        let (plain, moved) = tables.split_at_mut(2);
        let masks = self.finest.masks();
        for row in rows {
            let shift = match &self.shifted {
                Some((levels, _)) => levels.shift_of(dtype, row) << shift_unit(&self.finest),
                None => 0,
            };
            let mut all = 0;
            each_unit(dtype, row, |i, unit| {
                let upper = if dtype == Dtype::F32 { (unit >> 16) as u16 } else { unit as u16 };
                let symbol = masks.symbol_of(upper);
                plain[i % 2][usize::from(symbol) % ALPHABET] += 1;
                let rest = symbol.wrapping_sub(shift) & masks.symbol;
                moved[i % 2][usize::from(rest) % ALPHABET] += 1;
                all |= unit;
            });
            for (bits, count) in &mut self.clean_rows {
                *count += usize::from(all.trailing_zeros() >= u32::from(*bits));
            }
        }
        let sum = |tables: &[[u32; ALPHABET]], i: usize| tables.iter().map(|t| u64::from(t[i])).sum();
        self.counts.iter_mut().enumerate().for_each(|(i, n)| *n = sum(plain, i));
        if let Some((_, counts)) = &mut self.shifted {
            counts.iter_mut().enumerate().for_each(|(i, n)| *n = sum(moved, i));
        }
    }
}

/// The split with the most coded bits, of which the others' symbols are sums.
fn finest(dtype: Dtype) -> Option<Split> {
    let (t, b) = match dtype {
        Dtype::F32 | Dtype::BF16 => (2, 0),
        Dtype::F16 => (3, 4),
        _ => (Layout::of(dtype).mantissa_bits, 0),
    };
    Split::new(dtype, t, b, 0)
}

/// Numbers of clean bits worth trying: what an element has below an 8-bit mantissa, an F16's or a
/// BF16's.
fn clean_choices(dtype: Dtype) -> &'static [u8] {
    match dtype {
        Dtype::F32 => &[8, 13, 16],
        Dtype::F16 => &[3],
        _ => &[],
    }
}

/// How far a shift must be moved up to be taken off a symbol of `split`: the step is half an octave,
/// so there must be a coded mantissa bit.
pub(super) fn shift_unit(split: &Split) -> u8 {
    split.top_bits - 1 + split.low_bits
}

fn each_unit(dtype: Dtype, row: &[u8], mut f: impl FnMut(usize, u32)) {
    match Layout::of(dtype).unit_bytes {
        1 => row.iter().enumerate().for_each(|(i, &b)| f(i, u32::from(b))),
        2 => row.as_chunks().0.iter().enumerate().for_each(|(i, &b)| f(i, u32::from(u16::from_le_bytes(b)))),
        _ => row.as_chunks().0.iter().enumerate().for_each(|(i, &b)| f(i, u32::from_le_bytes(b))),
    }
}

impl Levels {
    /// `None` where there is one row, or the type has no mantissa bits to spare.
    fn of_rows(dtype: Dtype, rows: &[&[u8]]) -> Option<Self> {
        if Layout::of(dtype).mantissa_bits < 2 || rows.len() < 2 {
            return None;
        }
        let mut levels: Vec<u32> = rows.iter().map(|row| level(dtype, row)).filter(|&l| l > 0).collect();
        // The lowest but for a few outliers, whose symbols will be escaped.
        let low = levels.len() / 100;
        if levels.is_empty() {
            return None;
        }
        Some(Self { base: *levels.select_nth_unstable(low).1 })
    }

    /// The shift of a row, in steps.
    pub fn shift_of(self, dtype: Dtype, row: &[u8]) -> u16 {
        let above = level(dtype, row).saturating_sub(self.base);
        ((above + 32 * SHIFT_STEP) / (64 * SHIFT_STEP)).min(u32::from(MAX_SHIFT)) as u16
    }
}

/// The mean magnitude of a row on a logarithmic scale: exponent and two mantissa bits read as one
/// number, in 1/64.
fn level(dtype: Dtype, row: &[u8]) -> u32 {
    let layout = Layout::of(dtype);
    let unit = usize::from(layout.unit_bytes);
    let shift = layout.mantissa_bits - 2;
    let mask = (1u32 << (layout.exponent_bits + layout.mantissa_bits)) - 1;
    let quarters = |upper: u32| (upper & mask) >> shift;
    let chunks = row.len() / unit / LEVEL_CHUNK;
    let every = chunks.div_ceil(LEVEL_CHUNKS).max(1);
    let (mut sum, mut count) = (0u32, 0);
    for chunk in row.chunks(LEVEL_CHUNK * unit).step_by(every) {
        sum += match unit {
            1 => chunk.iter().map(|&b| quarters(u32::from(b))).sum::<u32>(),
            2 => chunk.as_chunks().0.iter().map(|&b| quarters(u32::from(u16::from_le_bytes(b)))).sum(),
            _ => chunk.as_chunks().0.iter().map(|&b| quarters(u32::from_le_bytes(b) >> 16)).sum(),
        };
        count += (chunk.len() / unit) as u32;
    }
    64 * sum / count.max(1)
}
