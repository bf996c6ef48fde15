//! The code of an exponent: how far it is below its row's base, in tiers by how frequent that is.
//!
//! | below the base | tag | in the stream |
//! |---|---|---|
//! | 0, 1, 2 | that | – |
//! | 3, 4, 5 | 3 | two bits: 0, 1, 2 |
//! | 6 to 13 | 3 | 3, and then four bits: 0 to 7 |
//! | −2, −1 | 3 | 3, and then four bits: 8, 9 |
//!
//! The sum of tag and both fields, modulo 16, is the distance. With `zeros` the distance 13 stands for the exponent 0
//! instead.

use super::TieredFormat;

/// Bases that a row can have: all distances from them are exponents.
pub(super) const BASES: std::ops::RangeInclusive<u32> = 13..=254;

/// The tag of a weight that has bits in the stream.
pub(super) const MORE: u32 = 3;

/// How far the smallest code is above the base.
const ABOVE: u32 = 2;

/// The code of the exponent 0, with `zeros`.
const ZERO: u32 = 15;

/// What is stored of an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    /// Two bits where the column says.
    pub tag: u32,
    /// Bits in the stream, and how many.
    pub field: u32,
    pub bits: u32,
}

/// What is stored of `exponent` below `base`; `None` where it has no code.
pub(super) fn tier(exponent: u32, base: u32, format: TieredFormat) -> Option<Tier> {
    let code = match format.zeros {
        true if exponent == 0 => ZERO,
        _ => (base + ABOVE).wrapping_sub(exponent),
    };
    let last = if format.zeros && exponent != 0 { ZERO - 1 } else { ZERO };
    (code <= last).then(|| match code {
        2..=4 => Tier { tag: code - 2, field: 0, bits: 0 },
        5..=7 => Tier { tag: MORE, field: code - 5, bits: 2 },
        _ => Tier { tag: MORE, field: MORE | (code.wrapping_sub(8) & 15) << 2, bits: 6 },
    })
}

/// The exponent that is stored so.
pub(super) fn exponent(tier: Tier, base: u32, format: TieredFormat) -> u32 {
    let fields = (tier.field & 3) + (tier.field >> 2);
    let code = (tier.tag + fields + ABOVE) & 15;
    if format.zeros && code == ZERO { 0 } else { base + ABOVE - code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exponent_that_has_a_code_comes_back() {
        for zeros in [false, true] {
            let format = TieredFormat { zeros };
            for base in BASES {
                let coded = (0..256).filter_map(|e| Some((e, tier(e, base, format)?)));
                let mut count = 0;
                for (e, tier) in coded {
                    assert_eq!(exponent(tier, base, format), e, "base {base} {tier:?}");
                    assert!(tier.tag <= 3 && tier.field >> tier.bits == 0);
                    count += 1;
                }
                let beyond = u32::from(base == 254);
                assert!(count + beyond == 16, "base {base}: {count} codes");
            }
        }
    }
}
