//! Four 16-bit elements at once in a `u64`: gathering a narrow field of each into a few bits, and
//! spreading them out again.

/// One bit at the bottom of each of the four elements.
const ONES: u64 = 0x0001_0001_0001_0001;

/// `value` in each of the four elements.
pub(super) const fn repeat(value: u16) -> u64 {
    ONES * value as u64
}

/// The low `width` (1, 2 or 4) bits of each element, side by side: `4 * width` bits.
///
/// Field `i` sits at bit `16 i`. Multiplying by a sum of powers of two puts copies of all fields at
/// distinct places, so that no carries occur, and those that belong together next to each other
/// from bit 48 on.
#[inline(always)]
pub(super) fn gather(elements: u64, width: u32) -> u32 {
    let fields = elements & repeat((1 << width) - 1);
    let factor = (1 << 48) | (1 << (32 + width)) | (1 << (16 + 2 * width)) | (1 << (3 * width));
    ((fields.wrapping_mul(factor) >> 48) as u32) & ((1 << (4 * width)) - 1)
}

/// The inverse of [`gather`]: each element gets `width` bits of `packed`, whose higher bits are
/// ignored.
#[inline(always)]
pub(super) fn spread(packed: u32, width: u32) -> u64 {
    let packed = u64::from(packed) & ((1 << (4 * width)) - 1);
    let step = 16 - width;
    (packed | packed << step | packed << (2 * step) | packed << (3 * step)) & repeat((1 << width) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_and_spread_are_inverse_and_in_order() {
        for width in [1, 2, 4] {
            for packed in 0..1u32 << (4 * width) {
                let elements = spread(packed, width);
                for i in 0..4 {
                    let field = (packed >> (i * width)) & ((1 << width) - 1);
                    assert_eq!((elements >> (16 * i)) as u16, field as u16);
                }
                assert_eq!(gather(elements, width), packed);
                assert_eq!(gather(elements | repeat(0xff << width), width), packed);
                assert_eq!(spread(packed | !0 << (4 * width - 1) << 1, width), elements);
            }
        }
    }
}
