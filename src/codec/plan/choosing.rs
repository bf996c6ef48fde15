//! Choosing how a tensor is coded: the smallest result wins.

use rayon::prelude::*;

use super::levels::Levels;
use super::sample::{Sample, shift_unit};
use super::source_rows::SourceRows;
use crate::codec::payload::code::Code;
use crate::codec::payload::split::Split;
use crate::tensor::{Dtype, Matrix};

/// Maximum code length that the encoder uses. Rarer symbols are escaped, so longer codes would gain little,
/// and a table of 2¹¹ entries is quick to build and to look up in.
const CODE_LIMIT: u32 = 11;

/// A finer split must be smaller by at least this factor, because it takes longer to read.
const WORTH: f64 = 0.9985;

/// Bits of a row's shift in the file.
const SHIFT_BITS: f64 = 4.0;

/// The goal of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// The smallest file.
    #[default]
    Small,
    /// The shortest codes, because a decoder reads most of them at a time: only the exponent is coded. For
    /// elements of one byte, the coded bits are those of [`Preset::Small`].
    Fast,
}

/// A split with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub split: Split,
    pub code: Code,
    /// Set if rows are shifted to a common level.
    pub levels: Option<Levels>,
}

/// Which splits may be chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub preset: Preset,
    /// If set, only these splits.
    pub split: Option<Chosen>,
}

/// A request for certain splits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chosen {
    /// This number of coded top bits.
    TopBits(u8),
    /// Exactly this split.
    Split(Split),
}

impl Plan {
    /// The smallest plan for a matrix of units; `None` if there is nothing to code.
    pub fn smallest(source: &SourceRows, matrix: Matrix, choice: Choice) -> Option<Self> {
        let sample = Sample::take(source, matrix)?;
        let clean = match source.rounding() {
            Some(rounding) => rounding.lossy.clean_bits(),
            None => clean_bits(&sample),
        };
        // If the split is given, the sample may lack some of its low bits.
        let open = !sample.complete || matches!(choice.split, Some(Chosen::Split(_)));
        let candidates = candidates(&sample, splits(&sample, clean, choice));
        let code = |candidate: &Candidate| {
            let Candidate { split, counts, .. } = candidate;
            let code = Code::for_counts(counts, split.symbol_bits(), CODE_LIMIT, open)?;
            let raw = split.raw_bits() as u64 * counts.iter().sum::<u64>();
            let bits = (code.bits(counts, split.symbol_bits()) + raw) as f64 + candidate.aside;
            Some((bits, Self { split: *split, code, levels: candidate.levels }))
        };
        // No code is shorter than the entropy, so most codes need not be built.
        let first = candidates.iter().min_by(|a, b| a.entropy.total_cmp(&b.entropy))?;
        let made = code(first);
        let most = made.as_ref().map_or(f64::INFINITY, |(bits, _)| bits / WORTH);
        let coded =
            candidates.par_iter().filter(|candidate| candidate.entropy <= most).filter_map(|candidate| {
                if std::ptr::eq(candidate, first) { made.clone() } else { code(candidate) }
            });
        let finer_if_worth = |best: (f64, Self), next| match next {
            (bits, _) if bits < best.0 * WORTH => next,
            _ => best,
        };
        coded.collect::<Vec<_>>().into_iter().reduce(finer_if_worth).map(|(_, plan)| plan)
    }

    /// How many bits a shift is moved left before it is subtracted from a symbol.
    pub fn shift_unit(&self) -> u8 {
        shift_unit(&self.split)
    }
}

/// A split that may be chosen.
struct Candidate {
    split: Split,
    /// Set if rows are shifted to a common level.
    levels: Option<Levels>,
    /// How often each of its symbols occurs.
    counts: Vec<u64>,
    /// Bits of everything that is neither coded nor raw.
    aside: f64,
    /// Lower bound of its total bits.
    entropy: f64,
}

/// Each of `splits`, with and without row shifts if there are any: coarser splits first.
fn candidates(sample: &Sample, splits: Vec<Split>) -> Vec<Candidate> {
    let with = |split: Split, levels: Option<Levels>, counts: &[u64]| {
        let aside = if levels.is_some() { SHIFT_BITS * sample.rows as f64 } else { 0.0 };
        let counts = folded(sample, counts, &split);
        let entropy = entropy(&split, &counts) + aside;
        Candidate { split, levels, counts, aside, entropy }
    };
    let of_split = |split: Split| {
        let shifted = sample.shifted.as_ref().filter(|_| split.top_bits > 0 && split.low_bits == 0);
        let shifted = shifted.map(|(levels, counts)| with(split, Some(*levels), counts));
        [with(split, None, &sample.counts)].into_iter().chain(shifted)
    };
    splits.into_par_iter().flat_map_iter(of_split).collect()
}

fn splits(sample: &Sample, clean: u8, choice: Choice) -> Vec<Split> {
    let finest = sample.finest;
    let (top, low) = match choice.preset {
        Preset::Small => (finest.top_bits, finest.low_bits),
        // Types of one byte have so few bits that a plane for the rest would not pay off.
        Preset::Fast => (if finest.unit_bytes() == 1 { finest.top_bits } else { 0 }, 0),
    };
    let tops = match choice.split {
        Some(Chosen::Split(split)) => return vec![split],
        Some(Chosen::TopBits(top)) => top..=top,
        None => 0..=top,
    };
    // Clean bits are the lowest of the bits that were counted.
    let low = low - clean.min(low);
    tops.flat_map(|t| (0..=low).filter_map(move |b| Split::new(finest.dtype, t, b, clean))).collect()
}

/// The number of clean bits that saves most.
fn clean_bits(sample: &Sample) -> u8 {
    let saved = |&(bits, rows): &(u8, usize)| usize::from(bits) * rows;
    // Clean bits pay for the masks, at two bits per row, if one row in a hundred is clean. For a BF16, rows
    // of zeros alone do not justify a payload that older decoders refuse.
    let least = if sample.finest.dtype == Dtype::BF16 { sample.rows / 2 } else { sample.rows / 100 };
    let worth = |&&(_, rows): &&(u8, usize)| rows > least;
    sample.clean_rows.iter().filter(worth).max_by_key(|choice| saved(choice)).map_or(0, |&(bits, _)| bits)
}

/// The counts of `split`'s symbols, computed from `counts` of the finest split's.
fn folded(sample: &Sample, counts: &[u64], split: &Split) -> Vec<u64> {
    let finest = &sample.finest;
    let mut sums = vec![0; 1 << split.symbol_bits()];
    // The finest split has no clean bits; the clean bits of `split` are the lowest of its low bits.
    let clean = if split.dtype == Dtype::F16 { split.clean_bits } else { 0 };
    let low = finest.low_bits;
    for (symbol, &n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        let high = symbol >> low >> (finest.top_bits - split.top_bits);
        let bottom = ((symbol & ((1 << low) - 1)) >> clean) & ((1 << split.low_bits) - 1);
        sums[high << split.low_bits | bottom] += n;
    }
    sums
}

/// Lower bound of the bits of all symbols and raw fields: the entropy, with symbols escaped that are rarer
/// than the longest code.
fn entropy(split: &Split, counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let escape = f64::from(CODE_LIMIT + split.symbol_bits());
    let bits = |&n: &u64| n as f64 * (total as f64 / n as f64).log2().min(escape);
    let coded: f64 = counts.iter().filter(|&&n| n > 0).map(bits).sum();
    coded + total as f64 * f64::from(split.raw_bits())
}
