//! Values of a tensor, from which the sizes of differences are predicted without coding them.

use std::collections::HashMap;

use crate::codec::UnitFormat;
use crate::store::sketch::{Sketch, ordered};
use crate::tensor::Dtype;

/// Runs of elements that are taken of a tensor, evenly spaced.
const RUNS: usize = 16;

/// Elements of a run.
const RUN: usize = 64;

/// Elements of a tensor, as integers in the order of their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Values {
    dtype: Dtype,
    ordered: Vec<i64>,
}

impl Values {
    /// Some of the elements of a tensor or of its first piece; `None` if its bits do not order values, or if there are too
    /// few. Of tensors with about as many elements, the same ones are taken.
    pub fn of(dtype: Dtype, data: &[u8]) -> Option<Self> {
        if !Sketch::suits(dtype) {
            return None;
        }
        let width = dtype.bitsize() / 8;
        let runs = data.len() / width / RUN;
        // As with sketches: rows may have been added at the end.
        let apart = (runs + 1).next_power_of_two() / 2 / RUNS;
        let run = |i: usize| data.get(i * apart * RUN * width..)?.get(..RUN * width);
        let elements = (0..RUNS).filter_map(run).flat_map(|run| run.chunks_exact(width));
        (apart > 0).then(|| Self { dtype, ordered: elements.map(ordered).collect() })
    }

    /// Bits of an element that is stored alone: what exponents tell, and the rest as it is.
    pub fn alone_bits(&self) -> f64 {
        let UnitFormat { unit_bytes, exponent_bits, .. } = UnitFormat::of(self.dtype);
        let rest = 8 * unit_bytes - 1 - exponent_bits;
        f64::from(rest + 1) + entropy(self.ordered.iter().map(|value| value.unsigned_abs() as i64 >> rest))
    }

    /// Bits of an element that is stored as the difference to that of `base`: what the sign and the number of bits of
    /// differences tell, and the bits behind the leading one (as Ning et al., FM-Delta, NeurIPS 2024, code them). `None`
    /// for another type.
    pub fn difference_bits(&self, base: &Self) -> Option<f64> {
        if self.dtype != base.dtype || self.ordered.len() != base.ordered.len() {
            return None;
        }
        let differences = || self.ordered.iter().zip(&base.ordered).map(|(value, base)| value - base);
        let len = |difference: i64| i64::from(64 - difference.unsigned_abs().leading_zeros());
        let behind: i64 = differences().map(|difference| (len(difference) - 1).max(0)).sum();
        let symbols = differences().map(|difference| len(difference) * difference.signum());
        Some(behind as f64 / self.ordered.len() as f64 + entropy(symbols))
    }
}

/// What a symbol tells on average, in bits.
fn entropy(symbols: impl Iterator<Item = i64>) -> f64 {
    let mut counts: HashMap<i64, u32> = HashMap::new();
    symbols.for_each(|symbol| *counts.entry(symbol).or_default() += 1);
    let all = f64::from(counts.values().sum::<u32>());
    let mut shares: Vec<f64> = counts.into_values().map(|count| f64::from(count) / all).collect();
    // In the order of their size, so that the sum is the same each time.
    shares.sort_by(f64::total_cmp);
    shares.into_iter().map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{encode, encode_delta_in_memory};

    fn gaussian(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    fn bf16(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|&value| half::bf16::from_f32(value).to_bits().to_le_bytes()).collect()
    }

    /// Contexts make differences a little smaller than that, all in about the same way.
    #[test]
    fn sizes_are_predicted() {
        let (weights, steps) = (gaussian(1, 1 << 18), gaussian(2, 1 << 18));
        let base = bf16(&weights);
        let values = Values::of(Dtype::BF16, &base).unwrap();
        let alone = encode(Dtype::BF16, &[512, 512], &base).unwrap().len() as f64;
        let predicted = values.alone_bits() / 8.0 * f64::from(1 << 18);
        assert!((predicted / alone - 1.0).abs() < 0.05, "{predicted} {alone}");
        for far in [0.0, 0.001, 0.01, 0.1] {
            let moved: Vec<f32> = weights.iter().zip(&steps).map(|(w, step)| w + far * step).collect();
            let moved = bf16(&moved);
            let of_moved = Values::of(Dtype::BF16, &moved).unwrap();
            let coded =
                encode_delta_in_memory(Dtype::BF16, &[512, 512], &moved, (&base, blake3::hash(&base)));
            let coded = coded.unwrap().expect("it is shorter").len() as f64;
            let predicted = of_moved.difference_bits(&values).unwrap() / 8.0 * f64::from(1 << 18);
            assert!((predicted - coded).abs() < 0.07 * alone, "{far}: {predicted} {coded}");
        }
    }

    #[test]
    fn the_same_elements_are_taken_where_rows_were_added() {
        let base = bf16(&gaussian(3, 30_000));
        assert_eq!(Values::of(Dtype::BF16, &base[..50_000]), Values::of(Dtype::BF16, &base));
        assert!(Values::of(Dtype::I32, &base).is_none() && Values::of(Dtype::BF16, &base[..100]).is_none());
        let f16 = Values::of(Dtype::F16, &base).unwrap();
        assert_eq!(f16.difference_bits(&Values::of(Dtype::BF16, &base).unwrap()), None);
        assert_eq!(f16.difference_bits(&f16), Some(0.0));
    }
}
