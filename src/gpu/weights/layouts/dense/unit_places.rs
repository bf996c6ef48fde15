//! The positions of a unit's bits after shaders have assembled it.

use crate::codec::Kept;
use crate::codec::split::{Plane, Source, Split};

/// The positions of a unit's bits in a 32-bit word, which the unit fills from the top.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitPlaces {
    /// Lowest bit of the exponent with the top mantissa bits.
    pub symbol_at: u32,
    /// Lowest bit of the coded low mantissa bits.
    pub low_at: u32,
    /// Lowest mantissa bit of the raw field.
    raw_at: u32,
    /// Lowest clean bit.
    clean_at: u32,
    symbol_bits: u32,
    low_bits: u32,
    /// Lowest bit of the unit.
    last_at: u32,
}

impl UnitPlaces {
    pub fn of(split: &Split) -> Self {
        // Of an F32, the upper half is split.
        let upper_bits = 8 * (split.unit_bytes() as u32).min(2);
        let symbol_bits = split.symbol_bits();
        let low_bits = u32::from(split.low_bits);
        let sign_bits = u32::from(split.raw_bits() > 0);
        let clean_at = if split.unit_bytes() == 4 { 0 } else { 32 - upper_bits };
        let low_at = 32 - upper_bits + if split.unit_bytes() == 2 { u32::from(split.clean_bits) } else { 0 };
        let symbol_at = 32 - sign_bits - (symbol_bits - low_bits);
        let last_at = 32 - 8 * split.unit_bytes() as u32;
        Self { symbol_at, low_at, raw_at: low_at + low_bits, clean_at, symbol_bits, low_bits, last_at }
    }

    /// A symbol, moved to its place in the unit.
    pub fn place(&self, symbol: u32) -> u32 {
        let low = symbol & ((1 << self.low_bits) - 1);
        (symbol >> self.low_bits) << self.symbol_at | low << self.low_at
    }

    pub fn symbol_mask(&self) -> u32 {
        self.place((1 << self.symbol_bits) - 1)
    }

    /// Number of dropped bits, and the lower of the two numbers around the middle of their range.
    pub fn middle(&self, split: &Split, kept: Kept) -> Option<(u32, u32)> {
        let bits = kept.mantissa_bits.filter(|_| kept.middle)?;
        let dropped = split.mantissa_bits() - u32::from(bits);
        Some((dropped, ((1 << (dropped - 1)) - 1) * self.last()))
    }

    /// The unit's lowest bit.
    pub fn last(&self) -> u32 {
        1 << self.last_at
    }

    /// A mask of the exponent's bits.
    pub fn exponent(&self, split: &Split) -> u32 {
        ((1 << split.exponent_bits()) - 1) << self.exponent_at(split)
    }

    fn exponent_at(&self, split: &Split) -> u32 {
        self.symbol_at + u32::from(split.top_bits)
    }

    /// Position of the lowest bit of a plane's fields.
    pub fn of_plane(&self, plane: &Plane) -> u32 {
        let source = match plane.source {
            Source::Raw => self.raw_at,
            // Only an F32 has a lower half.
            Source::Lower => 0,
            Source::Clean => self.clean_at,
        };
        source + u32::from(plane.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    #[test]
    fn symbol_and_planes_fill_the_unit() {
        let all = (0..4).flat_map(|t| (0..5).flat_map(move |b| (0..=16).map(move |c| (t, b, c))));
        let mut count = 0;
        for (t, b, c) in all {
            for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::U8] {
                let Some(split) = Split::new(dtype, t, b, c) else { continue };
                let places = UnitPlaces::of(&split);
                let mut bits = places.symbol_mask();
                assert_eq!(bits.count_ones(), split.symbol_bits());
                for (i, plane) in split.planes().iter().enumerate() {
                    let sign = u32::from(i == 0);
                    let width = u32::from(plane.width) - sign;
                    let field = ((1u64 << width) - 1) << places.of_plane(plane) | u64::from(sign) << 31;
                    assert_eq!(u64::from(bits) & field, 0, "{split:?}");
                    bits |= field as u32;
                }
                assert_eq!(bits.trailing_zeros(), 32 - 8 * split.unit_bytes() as u32, "{split:?}");
                assert_eq!(bits.count_ones(), 8 * split.unit_bytes() as u32, "{split:?}");
                count += 1;
            }
        }
        assert_eq!(count, 12 + 20 + 40 + 4 + 3 + 1);
    }
}
