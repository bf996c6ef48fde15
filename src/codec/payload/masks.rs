//! A split's shifts and masks, which take elements apart and put them together.

use super::split::{Source, Split};

/// The position of some bits of a raw plane's field in one half of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The plane's index.
    pub plane: usize,
    /// How many bits the field is rotated left.
    pub up: u8,
    /// The bits to keep after that.
    pub mask: u16,
}

/// A split's shifts and masks, for inner loops over upper halves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks {
    magnitude: u16,
    sign: u16,
    sign_to_raw: u8,
    high: u8,
    low_bits: u8,
    low: u16,
    clean_shift: u8,
    middle_shift: u8,
    middle: u16,
    /// All bits of a symbol.
    pub symbol: u16,
}

impl Split {
    /// The shifts and masks of this split.
    pub(crate) fn masks(&self) -> Masks {
        let format = self.unit;
        let clean = self.clean_in_upper();
        let ones = |bits: u8| ((1u32 << bits) - 1) as u16;
        Masks {
            magnitude: ones(format.exponent_bits + format.mantissa_bits),
            sign: if format.sign_bits == 1 { 1 << (format.upper_bits() - 1) } else { 0 },
            sign_to_raw: format.upper_bits() - 1 - self.middle_bits(),
            high: format.mantissa_bits - self.top_bits,
            low_bits: self.low_bits,
            low: ones(self.low_bits),
            clean_shift: clean,
            middle_shift: self.low_bits + clean,
            middle: ones(self.middle_bits()),
            symbol: ones(self.symbol_bits() as u8),
        }
    }

    /// The pieces of the raw planes' fields that belong to upper halves of units, and those that belong to
    /// lower halves.
    pub(crate) fn pieces(&self) -> [Vec<Piece>; 2] {
        let masks = self.masks();
        let [mut upper, mut lower] = [Vec::new(), Vec::new()];
        for (index, plane) in self.planes().iter().enumerate() {
            let bits = (((1u32 << plane.width) - 1) << plane.shift) as u16;
            // Bits of the source, and how much higher they are in the half.
            let add = |to: &mut Vec<Piece>, bits: u16, up: u8| {
                if bits != 0 {
                    to.push(Piece { plane: index, up: plane.shift + up, mask: bits << up });
                }
            };
            match plane.source {
                Source::Raw => {
                    add(&mut upper, bits & !masks.middle, masks.sign_to_raw);
                    add(&mut upper, bits & masks.middle, masks.middle_shift);
                }
                Source::Clean if self.unit_bytes() == 2 => add(&mut upper, bits, 0),
                Source::Lower | Source::Clean => add(&mut lower, bits, 0),
            }
        }
        [upper, lower]
    }
}

impl Masks {
    /// The symbol of an upper half.
    #[inline(always)]
    pub fn symbol_of(&self, upper: u16) -> u16 {
        ((upper & self.magnitude) >> self.high) << self.low_bits | ((upper >> self.clean_shift) & self.low)
    }

    /// The raw field of an upper half.
    #[inline(always)]
    pub fn raw_of(&self, upper: u16) -> u16 {
        (upper & self.sign) >> self.sign_to_raw | ((upper >> self.middle_shift) & self.middle)
    }

    /// Where the bits of a symbol are in the upper half: for the bits above the low ones, how far they are
    /// rotated left, and their mask; then the same for the low ones.
    pub fn of_symbol(&self) -> [(u8, u16); 2] {
        let high = ((self.symbol >> self.low_bits) << self.high, (16 + self.high - self.low_bits) % 16);
        [(high.1, high.0), (self.clean_shift, self.low << self.clean_shift)]
    }

    /// Puts an upper half together again, without its clean bits. Bits above the symbol's are ignored.
    #[inline(always)]
    pub fn join(&self, symbol: u16, raw: u16) -> u16 {
        let symbol = symbol & self.symbol;
        ((symbol >> self.low_bits) << self.high)
            | (symbol & self.low) << self.clean_shift
            | (raw & self.middle) << self.middle_shift
            | (raw & !self.middle) << self.sign_to_raw
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::Plane;
    use super::*;
    use crate::tensor::Dtype;

    fn all_splits() -> impl Iterator<Item = Split> {
        use Dtype::*;
        let bits = (0..4u8).flat_map(|t| (0..5u8).flat_map(move |b| (0..=16).map(move |l| (t, b, l))));
        bits.flat_map(|(t, b, l)| [F32, BF16, F16, F8_E4M3, F8_E5M2, U8, F64].map(|d| Split::new(d, t, b, l)))
            .flatten()
    }

    #[test]
    fn every_pattern_comes_back_and_planes_cover_it() {
        assert_eq!(all_splits().count(), 12 + 20 + 40 + 4 + 3 + 2);
        for split in all_splits() {
            let masks = split.masks();
            let bits = split.unit.upper_bits();
            let clean_in_upper = (1 << split.clean_in_upper()) - 1;
            for upper in 0..=u16::MAX >> (16 - bits) {
                let (symbol, raw) = (masks.symbol_of(upper), masks.raw_of(upper));
                assert!(u32::from(symbol) < 1 << split.symbol_bits());
                assert!(u32::from(raw) < 1 << split.raw_bits());
                assert_eq!(masks.join(symbol, raw) | upper & clean_in_upper, upper, "{split:?}");
            }
            let [upper, lower] = split.pieces();
            let symbol = masks.of_symbol().map(|(_, mask)| mask);
            let covered = upper.iter().map(|piece| piece.mask).chain(symbol).fold(0, |all, mask| all ^ mask);
            assert_eq!(covered, u16::MAX >> (16 - bits), "{split:?}");
            assert_eq!(
                lower.iter().fold(0, |all, piece| all ^ piece.mask) == u16::MAX,
                split.dtype == Dtype::F32
            );
            let planes: u32 = split.planes().iter().map(|p| u32::from(p.width)).sum();
            assert_eq!(planes + split.symbol_bits(), 8 * split.unit_bytes() as u32, "{split:?}");
            assert!(split.planes().is_sorted_by_key(Plane::is_sparse));
        }
    }
}
