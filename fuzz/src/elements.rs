//! Elements like those of weights, and some that are not, from a few numbers.

use arbitrary::Arbitrary;
use bantam::tensor::{Dtype, Matrix};

/// How elements are drawn.
#[derive(Debug, Arbitrary)]
pub struct Recipe {
    kind: u8,
    /// How many different ones there are, about.
    spread: u8,
    /// How many of the lowest bits are zero in clean rows.
    clean: u8,
    /// One row in so many is not clean.
    dirty: u8,
    /// How many octaves rows lie apart.
    scale: u8,
    /// One element in eight times as many is any pattern.
    rare: u8,
    seed: u64,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Exponent and mantissa bits; `None` where elements are no floats of whole bytes.
fn float_bits(dtype: Dtype) -> Option<(u32, u32)> {
    match dtype {
        Dtype::F32 => Some((8, 23)),
        Dtype::BF16 => Some((8, 7)),
        Dtype::F16 => Some((5, 10)),
        Dtype::F8_E4M3 => Some((4, 3)),
        Dtype::F8_E5M2 => Some((5, 2)),
        _ => None,
    }
}

impl Recipe {
    /// The bytes of a tensor that is seen as `matrix`.
    pub fn elements(&self, dtype: Dtype, matrix: Matrix) -> Vec<u8> {
        // Elements of less than a byte are drawn a byte at a time.
        let width = (dtype.bitsize() / 8).max(1);
        let len = (matrix.len() * dtype.bitsize()).div_ceil(8);
        let mut random = Random(self.seed);
        let mut bytes = Vec::with_capacity(len + 8);
        for row in 0..matrix.rows {
            let level = random.next() % (1 + u64::from(self.scale % 16));
            let is_dirty = self.dirty > 0 && random.next().is_multiple_of(u64::from(self.dirty));
            let clean = if is_dirty { 0 } else { u32::from(self.clean % 24) };
            let start = bytes.len();
            let elements = (len.min((row + 1) * matrix.cols * width) - start).div_ceil(width);
            self.fill(dtype, level, elements, &mut random, |element| {
                bytes.extend_from_slice(&(element >> clean << clean).to_le_bytes()[..width])
            });
            self.sprinkle(width, &mut random, &mut bytes[start..]);
        }
        bytes
    }

    /// Draws the elements of a row.
    fn fill(&self, dtype: Dtype, level: u64, count: usize, random: &mut Random, mut put: impl FnMut(u64)) {
        let spread = 1 + u64::from(self.spread);
        let mut draw = |f: &dyn Fn(u64) -> u64| (0..count).for_each(|_| put(f(random.next())));
        match (self.kind % 8, float_bits(dtype)) {
            // All equal.
            (0, _) => draw(&|_| self.seed),
            // A few patterns, the first the likelier.
            (1, _) => draw(&|drawn| Random(drawn % spread & (drawn >> 32)).next()),
            (2, _) => draw(&|drawn| drawn),
            (3.., Some((exponent_bits, mantissa_bits))) => draw(&|drawn| {
                let below = u64::from((drawn >> 32).trailing_zeros()) * spread / 64;
                let exponent = (1u64 << (exponent_bits - 1)).saturating_sub(1 + level + below);
                let mantissa = drawn & ((1 << mantissa_bits) - 1);
                (drawn >> 63) << (exponent_bits + mantissa_bits) | exponent << mantissa_bits | mantissa
            }),
            // Small integers, and their negatives.
            (3.., None) => draw(&|drawn| (drawn % spread).wrapping_sub(spread / 2)),
        }
    }

    /// Makes some elements any pattern.
    fn sprinkle(&self, width: usize, random: &mut Random, row: &mut [u8]) {
        if self.rare == 0 {
            return;
        }
        let apart = 8 * usize::from(self.rare);
        let first = random.next() as usize % apart;
        for element in row.chunks_exact_mut(width).skip(first).step_by(apart) {
            element.copy_from_slice(&random.next().to_le_bytes()[..width]);
        }
    }
}
