//! Random weights like those of models, the same on every platform: integer arithmetic until one rounding.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::tensor::Dtype;

/// Values generated from one state of the generator, for any number of threads.
const BLOCK: usize = 1 << 16;

/// The standard deviation of the weights.
const SIGMA: f32 = 0.02;

/// Approximately N(0, 1), in units of 2⁻¹⁶: the sum of twelve uniform numbers of 16 bits.
fn standard(random: &mut ChaCha8Rng) -> i32 {
    let quarters = |word: u64| (0..4).map(move |i| (word >> (16 * i) & 0xffff) as i32);
    (0..3).flat_map(|_| quarters(random.next_u64())).sum::<i32>() - 6 * (1 << 16)
}

/// Little-endian bytes of `count` Gaussian numbers of `dtype`, which must be one of [`types`].
pub(super) fn gaussian(dtype: Dtype, count: usize, seed: u64) -> Vec<u8> {
    let width = dtype.bitsize() / 8;
    let mut bytes = vec![0; count * width];
    bytes.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, bytes)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(block as u64);
        for element in bytes.chunks_exact_mut(width) {
            let value = standard(&mut random) as f32 * (SIGMA / (1 << 16) as f32);
            element.copy_from_slice(&bits_of(dtype, value).to_le_bytes()[..width]);
        }
    });
    bytes
}

/// The types that weights can have.
pub(super) fn types() -> [Dtype; 5] {
    [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F8_E4M3, Dtype::F8_E5M2]
}

/// Rounds `value` to `dtype`. FP8 is scaled to its range first, as quantisers do.
fn bits_of(dtype: Dtype, value: f32) -> u32 {
    match dtype {
        Dtype::BF16 => u32::from(half::bf16::from_f32(value).to_bits()),
        Dtype::F16 => u32::from(half::f16::from_f32(value).to_bits()),
        Dtype::F8_E4M3 => e4m3(value * (448.0 / (6.0 * SIGMA))),
        Dtype::F8_E5M2 => {
            let bits = u32::from(half::f16::from_f32(value * (57_344.0 / (6.0 * SIGMA))).to_bits());
            to_nearest(bits, 8)
        }
        _ => value.to_bits(),
    }
}

/// Encodes `value` as E4M3, with a magnitude of at most 448.
fn e4m3(value: f32) -> u32 {
    // The exponent's bias is 120 less than an F32's. Scaled by 2⁻¹²⁰, the bits above the lowest 20 are the
    // number, even a subnormal one.
    let scaled = value.abs().min(448.0) * f32::from_bits(7 << 23);
    to_nearest(scaled.to_bits(), 20) | u32::from(value.is_sign_negative()) << 7
}

/// Drops the lowest `bits` bits: rounds to nearest, ties to even.
fn to_nearest(word: u32, bits: u32) -> u32 {
    let odd = word >> bits & 1;
    (word + (1 << (bits - 1)) - 1 + odd) >> bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_spread_they_are_to_have() {
        let bytes = gaussian(Dtype::F32, 200_000, 1);
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 2e-4 && (square.sqrt() - 0.02).abs() < 1e-4, "{mean} {square}");
        assert_ne!(bytes[..4 * BLOCK], bytes[4 * BLOCK..8 * BLOCK]);
        assert_eq!(bytes, gaussian(Dtype::F32, 200_000, 1));
    }

    #[test]
    fn fp8_is_rounded_to_the_nearest() {
        // Sign, four bits of exponent with a bias of 7, three of mantissa.
        for (value, bits) in [
            (1.0, 0x38),
            (-1.0, 0xb8),
            (448.0, 0x7e),
            (500.0, 0x7e),
            (0.0, 0),
            (0.001953125, 0x01),
            (1.0625, 0x38),
            (1.07, 0x39),
            (1.1875, 0x3a),
        ] {
            assert_eq!(e4m3(value), bits, "{value}");
        }
        assert_eq!(to_nearest(u32::from(half::f16::from_f32(1.25).to_bits()), 8), 0x3d);
    }
}
