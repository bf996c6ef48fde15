//! Choosing how a tensor is coded, by size.

use super::huffman::{self, code_lengths};
use super::split::{ALPHABET, MAX_TOP_BITS, Split};
use crate::tensor::Dtype;

/// How often each exponent-and-two-mantissa-bits occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

impl Histogram {
    /// Counts the BF16 elements of `data` (little-endian).
    pub fn of_bf16(data: &[u8]) -> Self {
        // Four tables: with one, equal neighbours wait for each other's store.
        let mut tables = vec![[0u32; ALPHABET]; 4];
        let mut total = vec![0u64; ALPHABET];
        for block in data.chunks(1 << 30) {
            for (table, element) in (0..4).cycle().zip(block.chunks_exact(2)) {
                let element = u16::from_le_bytes([element[0], element[1]]);
                tables[table][usize::from((element & 0x7fff) >> 5)] += 1;
            }
            for (symbol, sum) in total.iter_mut().enumerate() {
                *sum += tables.iter_mut().map(|t| u64::from(std::mem::take(&mut t[symbol]))).sum::<u64>();
            }
        }
        Self(total)
    }

    /// Adds another histogram's counts.
    pub fn merge(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a += b);
        self
    }

    /// Counts of the symbols with `top_bits` mantissa bits.
    fn folded(&self, top_bits: u8) -> Vec<u64> {
        self.0.chunks(1 << (MAX_TOP_BITS - top_bits)).map(|c| c.iter().sum()).collect()
    }
}

/// A choice of split with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which bits are coded.
    pub split: Split,
    /// The smallest symbol that occurs.
    pub first_symbol: u16,
    /// Code lengths of the symbols from `first_symbol` to the largest that occurs.
    pub lengths: Vec<u8>,
    /// Bits that all coded streams and raw planes take together, padding not counted.
    pub bits: u64,
}

impl Plan {
    /// The smallest plan for the elements counted in `histogram`; the coarser on a draw.
    pub fn smallest(histogram: &Histogram) -> Option<Self> {
        (0..=MAX_TOP_BITS).filter_map(|t| Self::with_top_bits(histogram, t)).min_by_key(|plan| plan.bits)
    }

    /// The plan with `top_bits` mantissa bits coded; `None` where nothing was counted.
    pub fn with_top_bits(histogram: &Histogram, top_bits: u8) -> Option<Self> {
        let split = Split::new(Dtype::BF16, top_bits)?;
        let counts = histogram.folded(top_bits);
        let first = counts.iter().position(|&n| n > 0)?;
        let last = counts.iter().rposition(|&n| n > 0)?;
        let counts = &counts[first..=last];
        let lengths = code_lengths(counts);
        debug_assert!(lengths.len() == 1 || huffman::is_complete(&lengths));
        let bits = counts
            .iter()
            .zip(&lengths)
            .map(|(&n, &l)| n * (u64::from(l) + u64::from(split.raw_bits())))
            .sum();
        Some(Self { split, first_symbol: first as u16, lengths, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_the_count_and_a_plan_is_chosen_by_size() {
        let data: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let histogram = Histogram::of_bf16(&data);
        for t in 0..=MAX_TOP_BITS {
            assert_eq!(histogram.folded(t).iter().sum::<u64>(), 65_536);
        }
        // Uniform patterns: nothing to gain, every split costs 16 bits, so the coarsest is taken.
        let plan = Plan::smallest(&histogram).unwrap();
        assert_eq!((plan.split.top_bits, plan.bits), (0, 65_536 * 16));
        assert_eq!(Plan::smallest(&Histogram::of_bf16(&[])), None);
    }
}
