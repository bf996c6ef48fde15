//! How often symbols occur at which exponent of the base's element, and the contexts that follow from that.

use std::ops::Range;

use super::symbol::Symbol;
use super::unit::Unit;
use crate::codec::payload::delta_head::{CONTEXTS, Contexts, symbols_of};
use crate::codec::payload::frequencies::Frequencies;
use crate::codec::payload::unit_format::UnitFormat;
use crate::codec::simd::{Kernel, Vectors};
use crate::tensor::Dtype;

/// Where the exponent of an element is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exponents {
    shift: u32,
    mask: u32,
}

impl Exponents {
    /// Of the elements of `dtype`, a float.
    pub fn of(dtype: Dtype) -> Self {
        let UnitFormat { unit_bytes, exponent_bits, .. } = UnitFormat::of(dtype);
        let shift = 8 * u32::from(unit_bytes) - 1 - u32::from(exponent_bits);
        Self { shift, mask: (1 << exponent_bits) - 1 }
    }

    /// The exponent of an element.
    #[inline(always)]
    pub fn exponent(self, unit: impl Unit) -> u32 {
        unit.bits() >> self.shift & self.mask
    }

    /// The context of an element.
    #[inline(always)]
    pub fn context(self, top: u8, unit: impl Unit) -> u8 {
        (i32::from(top) + 1 - self.exponent(unit) as i32).clamp(0, CONTEXTS as i32 - 1) as u8
    }
}

/// How often each symbol occurs at each exponent.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    symbols: usize,
    /// Symbol after symbol, exponent after exponent.
    counts: Vec<u32>,
    /// More of them. Two numbers that follow each other are counted apart, so that the second does not wait
    /// for the first.
    others: Vec<u32>,
    /// Bits behind the symbols.
    more_bits: u64,
}

impl Counts {
    /// No counts of the differences of elements of `dtype`.
    pub fn none(dtype: Dtype) -> Self {
        let format = UnitFormat::of(dtype);
        let symbols = symbols_of(8 * u32::from(format.unit_bytes));
        let none = vec![0; symbols << format.exponent_bits];
        Self { symbols, counts: none.clone(), others: none, more_bits: 0 }
    }

    /// The counts of both.
    pub fn and(mut self, other: &Self) -> Self {
        let more = other.counts.iter().zip(&other.others);
        self.counts.iter_mut().zip(more).for_each(|(count, (one, other))| *count += one + other);
        self.more_bits += other.more_bits;
        self
    }

    /// The contexts that take the fewest bits, and how many. If others than the counted differences are to be
    /// coded, the counts are `open`: each symbol can be written in each context.
    pub fn contexts(&self, open: bool) -> (Contexts, f64) {
        let top = (0..self.counts.len() / self.symbols)
            .filter(|&exponent| self.of_exponents(exponent..exponent + 1).iter().any(|&count| count > 0))
            .map(|exponent| (self.entropy(exponent), exponent))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(0, |(_, exponent)| exponent);
        let counts: Vec<Vec<u64>> = (0..CONTEXTS).map(|context| self.of_context(top, context)).collect();
        let mut bits = self.more_bits as f64;
        let mut frequencies = Vec::with_capacity(CONTEXTS);
        for shared in shared(&counts) {
            let counts = sum(&counts[shared.clone()]);
            let own = Frequencies::for_counts(&counts, open);
            bits += own.bits(&counts);
            frequencies.resize(shared.end, own);
        }
        (Contexts { frequencies, top: top as u8 }, bits)
    }

    /// Bits of all symbols in the contexts that follow from `top`, if each took as many as it tells.
    fn entropy(&self, top: usize) -> f64 {
        (0..CONTEXTS).map(|context| entropy(&self.of_context(top, context))).sum()
    }

    /// How often each symbol occurs in a context.
    fn of_context(&self, top: usize, context: usize) -> Vec<u64> {
        let exponents = self.counts.len() / self.symbols;
        let behind = |exponent: usize| (top + 2).saturating_sub(exponent);
        match context {
            0 => self.of_exponents((top + 1).min(exponents)..exponents),
            _ if context == CONTEXTS - 1 => self.of_exponents(0..behind(context)),
            _ => self.of_exponents(behind(context + 1)..behind(context)),
        }
    }

    fn of_exponents(&self, exponents: Range<usize>) -> Vec<u64> {
        let mut sums = vec![0; self.symbols];
        for counts in
            self.counts[exponents.start * self.symbols..exponents.end * self.symbols].chunks(self.symbols)
        {
            sums.iter_mut().zip(counts).for_each(|(sum, &count)| *sum += u64::from(count));
        }
        sums
    }
}

/// Counts the differences of two rows.
pub(crate) struct CountRows<'a, U> {
    pub counts: &'a mut Counts,
    pub exponents: Exponents,
    pub new: &'a [U],
    pub base: &'a [U],
}

impl<U: Unit> Kernel for CountRows<'_, U> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let Self { counts: Counts { symbols, counts, others, more_bits }, exponents, new, base } = self;
        let (counts, others) = (&mut counts[..], &mut others[..]);
        let mut count = |counts: &mut [u32], new: U, base: U| {
            let symbol = Symbol::of(new.minus(base));
            counts[exponents.exponent(base) as usize * *symbols + usize::from(symbol.index)] += 1;
            *more_bits += u64::from(symbol.more_bits);
        };
        let (pairs, last) = new.as_chunks::<2>();
        let (base_pairs, base_last) = base.as_chunks::<2>();
        for (new, base) in pairs.iter().zip(base_pairs) {
            count(counts, new[0], base[0]);
            count(others, new[1], base[1]);
        }
        last.iter().zip(base_last).for_each(|(&new, &base)| count(counts, new, base));
    }
}

/// Bits of a frequency in a head, about.
const FREQUENCY_BITS: usize = 5;

/// Which consecutive contexts had best share their frequencies, because those of each would take more bits
/// than they save.
fn shared(counts: &[Vec<u64>]) -> Vec<Range<usize>> {
    // For each number of contexts from the first on: the fewest bits, and where the last that share begin.
    let mut best = vec![(0.0, 0)];
    for end in 1..=counts.len() {
        let cost = |start: usize| {
            let counts = sum(&counts[start..end]);
            let listed = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
            best[start].0 + entropy(&counts) + ((3 + listed) * FREQUENCY_BITS) as f64
        };
        let all = (0..end).map(|start| (cost(start), start));
        best.push(all.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there is a start"));
    }
    let mut ranges = Vec::new();
    let mut end = counts.len();
    while end > 0 {
        ranges.push(best[end].1..end);
        end = best[end].1;
    }
    ranges.reverse();
    ranges
}

fn sum(counts: &[Vec<u64>]) -> Vec<u64> {
    (0..counts[0].len()).map(|symbol| counts.iter().map(|counts| counts[symbol]).sum()).collect()
}

/// Bits of all symbols, if each took as many as it tells.
fn entropy(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let bits = |count: u64| count as f64 * (total as f64 / count as f64).log2();
    counts.iter().filter(|&&count| count > 0).map(|&count| bits(count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::simd;

    #[test]
    fn contexts_follow_the_exponents() {
        let bf16 = Exponents::of(Dtype::BF16);
        let context = |exponent: u16| bf16.context(120, exponent << 7 | 0x8055);
        assert_eq!([255, 121, 120, 119, 115, 114, 113, 0].map(context), [0, 0, 1, 2, 6, 7, 7, 7]);
        assert_eq!(Exponents::of(Dtype::F16).exponent(0xfc00u16), 31);
        assert_eq!(Exponents::of(Dtype::F32).exponent(0xbf80_0000u32), 127);
        assert_eq!(Exponents::of(Dtype::F8_E4M3).exponent(0x78u8), 15);
        // Each exponent counts in the context that it is coded in.
        let mut counts = Counts::none(Dtype::F8_E5M2);
        let all: Vec<u8> = (0..=255).collect();
        let exponents = Exponents::of(Dtype::F8_E5M2);
        simd::run(CountRows { counts: &mut counts, exponents, new: &all, base: &all });
        let counts = Counts::none(Dtype::F8_E5M2).and(&counts);
        for top in 0..32u8 {
            let mut expected = [0u64; CONTEXTS];
            all.iter()
                .for_each(|&u| expected[usize::from(Exponents::of(Dtype::F8_E5M2).context(top, u))] += 1);
            let counted: [u64; CONTEXTS] =
                std::array::from_fn(|context| counts.of_context(usize::from(top), context).iter().sum());
            assert_eq!(expected, counted, "{top}");
        }
    }
}
