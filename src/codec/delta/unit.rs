//! Elements of tensors as ordered integers.

/// An element, by its bits: a float's, with the sign at the top.
pub(crate) trait Unit: Copy + Default + PartialEq + Send + Sync {
    const BITS: u32;

    /// From little-endian bytes, as many as an element has.
    fn read(bytes: &[u8]) -> Self;

    /// To as many little-endian bytes.
    fn write(self, bytes: &mut [u8]);

    /// How many steps from one number to the next lead from `base` to `self`, modulo the number of bit
    /// patterns. NaNs have their place beyond the infinities, and −0 one before 0.
    fn minus(self, base: Self) -> i32;

    /// The inverse of [`Unit::minus`].
    fn plus(self, steps: i32) -> Self;

    /// The bits as a number.
    fn bits(self) -> u32;
}

macro_rules! unit {
    ($unit:ty, $signed:ty) => {
        impl Unit for $unit {
            const BITS: u32 = <$unit>::BITS;

            #[inline(always)]
            fn read(bytes: &[u8]) -> Self {
                <$unit>::from_le_bytes(bytes.try_into().expect("as many bytes as an element has"))
            }

            #[inline(always)]
            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            #[inline(always)]
            fn minus(self, base: Self) -> i32 {
                i32::from((mirrored!(self, $unit, $signed)).wrapping_sub(mirrored!(base, $unit, $signed))
                    as $signed)
            }

            #[inline(always)]
            fn plus(self, steps: i32) -> Self {
                let moved = (mirrored!(self, $unit, $signed)).wrapping_add(steps as $unit);
                mirrored!(moved, $unit, $signed)
            }

            #[inline(always)]
            fn bits(self) -> u32 {
                self.into()
            }
        }
    };
}

/// With the magnitude of negative numbers turned round, so that numbers are in the order of signed integers.
macro_rules! mirrored {
    ($bits:expr, $unit:ty, $signed:ty) => {
        $bits ^ (($bits as $signed >> (<$unit>::BITS - 1)) as $unit >> 1)
    };
}

unit!(u8, i8);
unit!(u16, i16);
unit!(u32, i32);

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn steps_follow_the_order_of_numbers() {
        let mut all: Vec<u16> = (0..=u16::MAX).collect();
        all.sort_by(|&a, &b| bf16::from_bits(a).total_cmp(&bf16::from_bits(b)));
        assert!(all.windows(2).all(|pair| pair[1].minus(pair[0]) == 1));
        assert_eq!((0x8000u16.minus(0), 0x80u8.minus(0), 0x8000_0000u32.minus(0)), (-1, -1, -1));
    }

    #[test]
    fn every_pair_comes_back() {
        for base in 0..=u8::MAX {
            for new in 0..=u8::MAX {
                assert_eq!(base.plus(new.minus(base)), new);
            }
        }
        for base in [0u16, 1, 0x7f80, 0x7fff, 0x8000, 0xff80, 0xffff, 0x3f80, 0xbf80] {
            for new in 0..=u16::MAX {
                assert_eq!(base.plus(new.minus(base)), new);
            }
        }
        for base in [0u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x3f80_0000] {
            for i in 0..=u16::MAX {
                let new = u32::from(i).wrapping_mul(0x9e37_79b1) ^ base;
                assert_eq!(base.plus(new.minus(base)), new);
            }
        }
    }
}
