//! The code of an exponent: how far it is below its row's base, in tiers by how frequent that is.
//!
//! | below the base | tag | in the stream |
//! |---|---|---|
//! | 0, 1, 2 | 1, 2, 3 | – |
//! | −2, −1 | 0 | three bits: 0, 1 |
//! | 3 to 8 | 0 | three bits: 2 to 7 |
//!
//! With `zeros` the distance 8 stands for the exponent 0 instead.

use super::TieredFormat;

/// Bases that a row can have: all distances from them are exponents of finite weights, so that no column that the
/// matrix does not have is read as an infinity.
pub(super) const BASES: std::ops::RangeInclusive<u32> = 8..=252;

/// The tag of a weight that has bits in the stream.
pub(super) const MORE: u32 = 0;

/// The tag of exceptions, and of columns that the matrix does not have.
pub(super) const NONE: u32 = 1;

/// How many bits those are.
pub(super) const MORE_BITS: u32 = 3;

/// How far the smallest code is above the base.
const ABOVE: u32 = 2;

/// The last code. With `zeros` it is that of the exponent 0.
const LAST: u32 = 10;

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
        true if exponent == 0 => LAST,
        _ => (base + ABOVE).wrapping_sub(exponent),
    };
    let last = if format.zeros && exponent != 0 { LAST - 1 } else { LAST };
    (code <= last).then(|| match code {
        0..=1 => Tier { tag: MORE, field: code, bits: MORE_BITS },
        2..=4 => Tier { tag: code - 1, field: 0, bits: 0 },
        _ => Tier { tag: MORE, field: code - 3, bits: MORE_BITS },
    })
}

/// The exponent that is stored so.
pub(super) fn exponent(tier: Tier, base: u32, format: TieredFormat) -> u32 {
    let code = match tier {
        Tier { tag: MORE, field: 0..=1, .. } => tier.field,
        Tier { tag: MORE, .. } => tier.field + 3,
        _ => tier.tag + 1,
    };
    if format.zeros && code == LAST { 0 } else { base + ABOVE - code }
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
                    assert!(e < 255, "base {base}: an infinity has a code");
                    count += 1;
                }
                assert!(count == 11, "base {base}: {count} codes");
            }
        }
    }
}
