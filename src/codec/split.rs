//! Which bits of an element are coded and which are raw.
//!
//! An element is `sign | exponent | mantissa`. The **symbol** is the exponent with the top `t`
//! mantissa bits below it: one contiguous field. What remains, the sign above the low mantissa
//! bits, is the **raw field**. It is stored in planes, most significant bits first, so that
//! leaving out the last planes leaves out the least important bits.

use super::spread::repeat;
use crate::tensor::Dtype;

/// Most mantissa bits that may be coded with the exponent.
pub const MAX_TOP_BITS: u8 = 2;

/// Symbols of the finest split: 8 exponent bits and those of the mantissa.
pub(super) const ALPHABET: usize = 1 << (8 + MAX_TOP_BITS);

/// How the elements of a tensor are taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Mantissa bits that are coded together with the exponent.
    pub top_bits: u8,
    planes: &'static [u8],
}

/// Widths are powers of two, so that no element straddles two words. The boundaries fall on 3, 5
/// and 7 kept mantissa bits whatever `t` is.
const BF16_PLANES: [&[u8]; 3] = [&[4, 2, 2], &[1, 2, 2, 2], &[2, 2, 2]];

impl Split {
    /// The split of `dtype` with `top_bits` coded mantissa bits; `None` where there is none.
    pub fn new(dtype: Dtype, top_bits: u8) -> Option<Self> {
        if dtype != Dtype::BF16 {
            return None;
        }
        let planes = BF16_PLANES.get(usize::from(top_bits))?;
        Some(Self { top_bits, planes })
    }

    /// The split of BF16 with `T` coded mantissa bits. For inner loops: with `T` known to the
    /// compiler, everything below is a constant.
    #[inline(always)]
    pub(super) const fn bf16<const T: usize>() -> Self {
        Self { top_bits: T as u8, planes: BF16_PLANES[T] }
    }

    /// Bits of a symbol.
    pub fn symbol_bits(&self) -> u32 {
        8 + u32::from(self.top_bits)
    }

    /// Bits of the raw field: the sign and the mantissa bits that are not coded.
    #[inline(always)]
    pub fn raw_bits(&self) -> u32 {
        8 - u32::from(self.top_bits)
    }

    /// Widths of the raw planes in bits, most significant first.
    #[inline(always)]
    pub fn planes(&self) -> &'static [u8] {
        self.planes
    }

    /// How far a plane's bits are above the bottom of the raw field.
    #[inline(always)]
    pub fn plane_shift(&self, plane: usize) -> u32 {
        self.planes[plane + 1..].iter().map(|&w| u32::from(w)).sum()
    }

    /// The symbol of `element`.
    pub fn symbol(&self, element: u16) -> u16 {
        (element & 0x7fff) >> (self.raw_bits() - 1)
    }

    /// The raw field of `element`.
    pub fn raw(&self, element: u16) -> u16 {
        let low = self.raw_bits() - 1;
        ((element >> 15) << low) | (element & ((1 << low) - 1))
    }

    /// Puts an element together again.
    pub fn join(&self, symbol: u16, raw: u16) -> u16 {
        let low = self.raw_bits() - 1;
        ((raw >> low) << 15) | (symbol << low) | (raw & ((1 << low) - 1))
    }

    /// The raw fields of four elements.
    #[inline(always)]
    pub(super) fn raw_of_four(&self, elements: u64) -> u64 {
        let low = self.raw_bits() - 1;
        ((elements >> (15 - low)) & repeat(1 << low)) | (elements & repeat((1 << low) - 1))
    }

    /// Four elements from four symbols and four raw fields.
    #[inline(always)]
    pub(super) fn join_four(&self, symbols: u64, raw: u64) -> u64 {
        let low = self.raw_bits() - 1;
        ((raw & repeat(1 << low)) << (15 - low)) | (symbols << low) | (raw & repeat((1 << low) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_comes_back_and_planes_cover_the_raw_field() {
        for t in 0..=MAX_TOP_BITS {
            let split = Split::new(Dtype::BF16, t).unwrap();
            assert_eq!(split.planes().iter().map(|&w| u32::from(w)).sum::<u32>(), split.raw_bits());
            for element in 0..=u16::MAX {
                let (symbol, raw) = (split.symbol(element), split.raw(element));
                assert!(u32::from(symbol) < 1 << split.symbol_bits());
                assert!(u32::from(raw) < 1 << split.raw_bits());
                assert_eq!(split.join(symbol, raw), element);
                let four = |v: u16| u64::from(v) << 48 | u64::from(v ^ 1) << 16;
                assert_eq!(split.raw_of_four(four(element)) >> 48, u64::from(raw));
                let symbols = u64::from(symbol) << 48 | u64::from(split.symbol(element ^ 1)) << 16;
                assert_eq!(split.join_four(symbols, split.raw_of_four(four(element))), four(element));
            }
        }
        assert_eq!(Split::new(Dtype::BF16, 3), None);
        assert_eq!(Split::new(Dtype::U8, 0), None);
    }
}
