//! Weights of every floating-point type as they are in models: few magnitudes are common, any is
//! possible, rows differ in scale, and some rows were of a narrower type once.

use bantam::codec::split::Split;
use bantam::tensor::Dtype;

use super::Random;

/// What a matrix of weights is like.
#[derive(Debug, Clone, Copy)]
pub struct Likeness {
    /// One element in so many has any bits at all; none where this is 0.
    pub any_bits: usize,
    /// One row in so many has something in the lowest bits that `Split::clean_bits` names; none where
    /// this is 0.
    pub dirty_rows: usize,
    /// Powers of two between the quietest row and the loudest.
    pub octaves: usize,
}

/// Rows of `cols` elements that `split` suits.
pub fn rows_for(split: &Split, rows: usize, cols: usize, like: Likeness, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in 0..rows {
        let scale = 0.5f32.powi((row * 37 % (like.octaves + 1)) as i32);
        let dirty = like.dirty_rows > 0 && (row * 7 + 3) % like.dirty_rows == 0;
        for _ in 0..cols {
            let mut bits = element(split, 8.0 * random.gaussian() * scale, random);
            if like.any_bits > 0 && random.below(like.any_bits) == 0 {
                bits = random.next() as u32;
            }
            if !dirty {
                bits = bits >> split.clean_bits << split.clean_bits;
            }
            bytes.extend_from_slice(&bits.to_le_bytes()[..split.unit_bytes()]);
        }
    }
    bytes
}

/// The bits of `value` in the type of `split`. Low bits that are coded are few.
fn element(split: &Split, value: f32, random: &mut Random) -> u32 {
    match split.dtype {
        Dtype::F32 => value.to_bits(),
        Dtype::BF16 => u32::from(half::bf16::from_f32(value).to_bits()),
        Dtype::F16 => {
            let bits = u32::from(half::f16::from_f32(value).to_bits());
            let low = ((1 << split.low_bits) - 1) << split.clean_bits;
            if random.below(16) == 0 { bits } else { bits & !low }
        }
        Dtype::F8_E5M2 | Dtype::F8_E5M2FNUZ => u32::from(half::f16::from_f32(value).to_bits() >> 8),
        Dtype::F8_E4M3 | Dtype::F8_E4M3FNUZ => {
            // The exponent of an F16, less one bit.
            let bits = u32::from(half::f16::from_f32(value).to_bits());
            bits >> 8 & 0x80 | (bits >> 7 & 0x7f)
        }
        // Small numbers with a sign, as in quantised weights.
        _ => (value * 100.0) as i32 as u32,
    }
}
