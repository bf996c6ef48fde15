//! Test data from integer generators, the same on every platform.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod gguf;
pub mod plain;
pub mod weights;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// About N(0, 0.02²): the sum of twelve uniform numbers, as an integer, scaled once.
    pub fn gaussian(&mut self) -> f32 {
        let sum: i64 = (0..12).map(|_| (self.next() >> 40) as i64).sum();
        (sum - 6 * (1 << 24)) as f32 / (1 << 24) as f32 * 0.02
    }

    pub fn gaussian_bf16(&mut self, count: usize) -> Vec<u16> {
        (0..count).map(|_| half::bf16::from_f32(self.gaussian()).to_bits()).collect()
    }

    pub fn gaussian_f32(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.gaussian()).collect()
    }
}

pub fn bf16_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Shapes around every edge of the tile grid.
pub const AWKWARD_SHAPES: &[&[usize]] = &[
    &[1, 1],
    &[],
    &[0],
    &[0, 16],
    &[16, 0],
    &[63, 255],
    &[65, 257],
    &[64, 256],
    &[128, 17],
    &[1, 5000],
    &[5000, 1],
    &[300],
    &[65_536],
    &[100_003],
    &[3, 50, 70],
    &[128, 128, 3],
    &[2, 2, 2, 2, 640],
    &[130, 1040],
];
