//! A block of elements with a scale: how elements are rounded, and how they are decoded.
//!
//! A *quotient* is stored for each element: the element divided by its block's scale, as a BF16 of few
//! mantissa bits. A decoded element is the product of quotient and scale, rounded to the tensor's type. That
//! product is exact in F32, because a scale has 8 significant bits and a quotient at most 7, and neither the
//! product nor the quotient is ever subnormal. So every processor and every device computes the same bits.

use crate::tensor::Dtype;

/// Mantissa bits of a BF16.
const BF16_MANTISSA: u8 = 7;

/// The sign bit of an F32.
const SIGN: u32 = 1 << 31;

/// The smallest normal F32.
const LEAST: u32 = 1 << 23;

/// The bits of an infinite F32.
const INFINITE: u32 = 0xff << 23;

/// The scale of a block of elements: the largest magnitude, rounded down to BF16, so that no product exceeds
/// the type's range. Zero if it would be subnormal. `None` if an element is not finite.
pub(crate) fn scale(dtype: Dtype, block: &[u8]) -> Option<u16> {
    let largest = |all: u32, bits: u32| all.max(bits & !SIGN);
    let largest = match dtype {
        Dtype::BF16 => block.as_chunks().0.iter().map(|&unit| bf16(unit)).fold(0, largest),
        Dtype::F16 => block.as_chunks().0.iter().map(|&unit| f16(unit)).fold(0, largest),
        _ => block.as_chunks().0.iter().map(|&unit| u32::from_le_bytes(unit)).fold(0, largest),
    };
    match largest {
        INFINITE.. => None,
        LEAST.. => Some((largest >> 16) as u16),
        _ => Some(0),
    }
}

/// The quotients of a block, as BF16.
pub(crate) fn divide(dtype: Dtype, block: &[u8], scale: u16, mantissa_bits: u8, out: &mut [u8]) {
    let quotients = out.as_chunks_mut().0.iter_mut();
    let quotient = |bits: u32| quotient(bits, scale, mantissa_bits).to_le_bytes();
    match dtype {
        Dtype::BF16 => {
            quotients.zip(block.as_chunks().0).for_each(|(out, &unit)| *out = quotient(bf16(unit)))
        }
        Dtype::F16 => quotients.zip(block.as_chunks().0).for_each(|(out, &unit)| *out = quotient(f16(unit))),
        _ => {
            let units = block.as_chunks().0;
            quotients.zip(units).for_each(|(out, &unit)| *out = quotient(u32::from_le_bytes(unit)));
        }
    }
}

/// The elements of a block, computed from its quotients.
pub(crate) fn multiply(dtype: Dtype, quotients: &[u8], scale: u16, out: &mut [u8]) {
    let scale = f32::from_bits(u32::from(scale) << 16);
    let quotients = quotients.as_chunks().0.iter();
    let product = |&unit: &[u8; 2]| (f32::from_bits(bf16(unit)) * scale).to_bits();
    match dtype {
        Dtype::BF16 => {
            let out = out.as_chunks_mut().0.iter_mut().zip(quotients);
            out.for_each(|(out, quotient)| *out = nearest_bf16(product(quotient)).to_le_bytes());
        }
        Dtype::F16 => {
            let out = out.as_chunks_mut().0.iter_mut().zip(quotients);
            out.for_each(|(out, quotient)| *out = nearest_f16(product(quotient)).to_le_bytes());
        }
        _ => {
            let out = out.as_chunks_mut().0.iter_mut().zip(quotients);
            out.for_each(|(out, quotient)| *out = product(quotient).to_le_bytes());
        }
    }
}

/// A BF16 as the bits of an F32.
#[inline(always)]
fn bf16(unit: [u8; 2]) -> u32 {
    u32::from(u16::from_le_bytes(unit)) << 16
}

/// An F16 as the bits of an F32.
#[inline(always)]
fn f16(unit: [u8; 2]) -> u32 {
    half::f16::from_le_bytes(unit).to_f32().to_bits()
}

/// Divides the bits of a finite F32 by a scale that is no smaller, except for its mantissa's last bits.
/// Rounds to the nearest BF16 of `mantissa_bits`, ties to even. The result is zero of the same sign if the
/// quotient, or its product with the scale, would be subnormal.
#[inline(always)]
fn quotient(bits: u32, scale: u16, mantissa_bits: u8) -> u16 {
    let sign = bits & SIGN;
    let scale = f32::from_bits(u32::from(scale) << 16);
    // A scale of zero gives infinity or NaN here, which is not used.
    let exact = f32::from_bits(bits & !SIGN) / scale;
    let rounded = round_to_even(exact.to_bits(), 16 + u32::from(BF16_MANTISSA - mantissa_bits));
    let product = (f32::from_bits(rounded) * scale).to_bits();
    let is_zero = scale == 0.0 || exact.to_bits() < LEAST || product < LEAST;
    ((if is_zero { sign } else { sign | rounded }) >> 16) as u16
}

/// The nearest number without the lowest `dropped` bits, ties to even.
#[inline(always)]
fn round_to_even(bits: u32, dropped: u32) -> u32 {
    bits.wrapping_add((1 << (dropped - 1)) - 1 + (bits >> dropped & 1)) >> dropped << dropped
}

/// The BF16 that is nearest to an F32. Twin of `nearest_bf16` in `shaders/shared/scaled.wgsl`.
#[inline(always)]
fn nearest_bf16(bits: u32) -> u16 {
    (round_to_even(bits, 16) >> 16) as u16
}

/// The F16 that is nearest to a normal F32. Twin of `nearest_f16` in `shaders/shared/scaled.wgsl`.
#[inline(always)]
fn nearest_f16(bits: u32) -> u16 {
    let magnitude = bits & !SIGN;
    // The exponent bias of an F16 is smaller by 112.
    let normal = (round_to_even(magnitude, 13) >> 13).wrapping_sub(112 << 10);
    // In units of 2⁻²⁴, the unit of a subnormal F16. Shifting by more than 25 bits leaves nothing.
    let dropped = (126 - (magnitude >> 23).min(112)).min(25);
    let full = magnitude & (LEAST - 1) | LEAST;
    let subnormal = round_to_even(full, dropped) >> dropped;
    let is_normal = magnitude >= 113 << 23;
    ((bits & SIGN) >> 16) as u16 | if is_normal { normal.min(0x7c00) } else { subnormal } as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scales over the whole range of numbers, with few bits and with many.
    const SCALES: [u16; 9] = [0, 0x0080, 0x00ff, 0x1f81, 0x3c00, 0x3db7, 0x3f80, 0x477f, 0x7f7f];

    fn number(bf16: u16) -> f64 {
        f64::from(f32::from_bits(u32::from(bf16) << 16))
    }

    /// The expected quotient, computed with floating-point numbers.
    fn nearest_quotient(element: f64, scale: f64, mantissa_bits: u8) -> f64 {
        if scale == 0.0 || element == 0.0 {
            return 0.0;
        }
        let exact = element.abs() / scale;
        let mut unit = 2f64.powi(-300);
        while unit * 2.0 <= exact {
            unit *= 2.0;
        }
        let step = unit / f64::from(1u32 << mantissa_bits);
        let rounded = (exact / step).round_ties_even() * step;
        let least = f64::from(f32::MIN_POSITIVE);
        if exact < least || rounded * scale < least { 0.0 } else { rounded * element.signum() }
    }

    #[test]
    fn every_bf16_has_the_nearest_quotient() {
        for (scale, mantissa_bits) in SCALES.into_iter().flat_map(|s| (1..=6).map(move |k| (s, k))) {
            let all = (0..=u16::MAX).filter(|bits| bits & 0x7fff <= scale.max(0x80));
            for bits in all {
                let got = quotient(u32::from(bits) << 16, scale, mantissa_bits);
                let wanted = nearest_quotient(number(bits), number(scale), mantissa_bits);
                assert_eq!(number(got), wanted, "{bits:04x} / {scale:04x}, {mantissa_bits} bits");
                assert_eq!(got & 0x8000, bits & 0x8000);
                assert_eq!(got & ((1 << (7 - mantissa_bits)) - 1), 0);
            }
        }
    }

    #[test]
    fn every_product_is_exact_and_then_the_nearest() {
        for scale in SCALES.into_iter().filter(|&scale| scale > 0) {
            // All possible quotients.
            for bits in
                (0..=u16::MAX).filter(|bits| (0x0080..=0x3f80).contains(&(bits & 0x7fff)) && bits & 1 == 0)
            {
                let exact = number(bits) * number(scale);
                if exact.abs() < f64::from(f32::MIN_POSITIVE) {
                    continue;
                }
                let mut out = [[0; 4]; 3];
                for (dtype, out) in [Dtype::F32, Dtype::BF16, Dtype::F16].into_iter().zip(&mut out) {
                    multiply(dtype, &bits.to_le_bytes(), scale, &mut out[..dtype.bitsize() / 8]);
                }
                let [f32, bf16, f16] = out.map(u32::from_le_bytes);
                assert_eq!(f64::from(f32::from_bits(f32)), exact);
                assert_eq!(bf16 as u16, half::bf16::from_f32(exact as f32).to_bits());
                assert_eq!(f16 as u16, half::f16::from_f32(exact as f32).to_bits(), "{exact}");
            }
        }
    }

    #[test]
    fn the_largest_of_a_block_is_what_its_type_can_hold() {
        let f16 = |bits: u16| scale(Dtype::F16, &[bits.to_le_bytes(), [0, 0]].concat());
        // The nearest to 65504 would be 65536, which is infinite in F16.
        assert_eq!(f16(0x7bff), Some(half::bf16::from_f32(65280.0).to_bits()));
        assert_eq!((f16(0x8001), f16(0), f16(0x7c00), f16(0xfe01)), (Some(0x3380), Some(0), None, None));
        let f32 = |value: f32| scale(Dtype::F32, &value.to_le_bytes());
        assert_eq!((f32(f32::MAX), f32(-1.00001), f32(1e-40)), (Some(0x7f7f), Some(0x3f80), Some(0)));
        for bits in 0..=u16::MAX {
            let finite = bits & 0x7fff < 0x7f80;
            let wanted = if bits & 0x7fff < 0x80 { 0 } else { bits & 0x7fff };
            assert_eq!(scale(Dtype::BF16, &bits.to_le_bytes()), finite.then_some(wanted));
            // An element that is alone in its block comes back exactly. So does one that is nearly as large,
            // in F32.
            if finite && wanted > 0 {
                for mantissa_bits in 1..=6 {
                    let one = 0x3f80 | bits & 0x8000;
                    assert_eq!(quotient(u32::from(bits) << 16, wanted, mantissa_bits), one);
                    assert_eq!(quotient(u32::from(bits) << 16 | 0xffff, wanted, mantissa_bits), one);
                }
            }
        }
    }
}
