//! Symbols for differences.
//!
//! | Symbols | Differences |
//! |---|---|
//! | 0 | 0 |
//! | 2 n − 1, 2 n | n, −n, for n from 1 to 7 |
//! | 15 + 4 (o − 3) + 2 b + s | of sign s, and of a magnitude whose highest bit is bit o and whose next one is b; the o − 1 bits below follow, turned over if s is 1 |

use crate::codec::payload::delta_head::{FIRST_OCTAVE, SMALL};

/// A symbol, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub index: u16,
    /// What is added to the least difference of the symbol.
    pub more: u32,
    /// How many they are.
    pub more_bits: u32,
}

impl Symbol {
    /// The symbol of a difference. Without a branch on what the difference is, which no processor could
    /// foretell.
    #[inline(always)]
    pub fn of(difference: i32) -> Self {
        let magnitude = difference.unsigned_abs();
        let sign = u32::from(difference < 0);
        let is_small = magnitude < 1 << FIRST_OCTAVE;
        let octave = (magnitude | 1 << FIRST_OCTAVE).ilog2();
        let next = magnitude >> (octave - 1) & 1;
        let large = u32::from(SMALL) + 4 * (octave - FIRST_OCTAVE) + 2 * next + sign;
        let small = magnitude.wrapping_mul(2).wrapping_add(sign).saturating_sub(1);
        let more_bits = if is_small { 0 } else { octave - 1 };
        let more = (magnitude ^ 0u32.wrapping_sub(sign)) & ((1 << more_bits) - 1);
        Self { index: if is_small { small } else { large } as u16, more, more_bits }
    }
}

/// The differences that a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Differences {
    /// The least of them.
    pub least: i32,
    /// Bits of what is added to it.
    pub more_bits: u32,
}

impl Differences {
    /// Of the symbol with this index.
    pub fn of(index: u16) -> Self {
        if index < SMALL {
            let magnitude = i32::from(index.div_ceil(2));
            let least = if index.is_multiple_of(2) { -magnitude } else { magnitude };
            return Self { least, more_bits: 0 };
        }
        let (octave, index) = (FIRST_OCTAVE + u32::from(index - SMALL) / 4, (index - SMALL) % 4);
        let (more_bits, magnitude) = (octave - 1, (2 + u32::from(index / 2)) << (octave - 1));
        let least = match index % 2 {
            0 => magnitude as i32,
            // The least difference of all has no positive counterpart; those beyond it do not occur.
            _ => 0u32.wrapping_sub(magnitude).wrapping_sub((1 << more_bits) - 1) as i32,
        };
        Self { least, more_bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::payload::delta_head::symbols_of;

    #[test]
    fn every_difference_has_a_symbol_and_comes_back() {
        let wide = (0..32)
            .flat_map(|bit| [1i32 << bit, (1i32 << bit).wrapping_sub(1), (1i32 << bit).wrapping_neg()]);
        for (bits, differences) in [
            (8, (-128..=127).collect::<Vec<i32>>()),
            (16, (-32768..=32767).collect()),
            (32, wide.chain((-40000..40000).map(|i| i * 53_687)).collect()),
        ] {
            let mut largest = 0;
            for difference in differences {
                let symbol = Symbol::of(difference);
                let all = Differences::of(symbol.index);
                let more = symbol.more as i32;
                assert_eq!((all.least.wrapping_add(more), all.more_bits), (difference, symbol.more_bits));
                largest = largest.max(symbol.index);
            }
            // Of the last octave there is only the least difference.
            assert_eq!(usize::from(largest), symbols_of(bits) - 3);
        }
    }
}
