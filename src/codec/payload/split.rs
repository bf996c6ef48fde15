//! Which bits of an element are coded and which are raw.
//!
//! A float is `sign | exponent | mantissa`. Its **symbol** is the exponent with the top `t` mantissa
//! bits below it, and in F16 the lowest `b` mantissa bits that are not clean below those. What remains,
//! the sign above the middle of the mantissa, is the **raw field**. It is stored in planes, most
//! significant bits first, so that leaving out the last planes leaves out the least important bits.
//!
//! All of this happens in 16 bits, the **upper half**. The upper half of an F32 is a BF16; its
//! **lower half** is stored raw. The lowest `clean` bits of an element are stored only for rows in
//! which they are not all zero, in **sparse planes**: models that were BF16 or F16 once have none.
//!
//! Types that have no layout here, F64 and integers among them, are taken apart into bytes, and each
//! whole byte is a symbol.

use crate::tensor::{Dtype, Matrix};

/// Most raw planes that a split has.
pub const MAX_PLANES: usize = 9;

/// Most clean bits of a BF16: all of its mantissa but the highest bit.
pub const BF16_CLEAN_BITS: u8 = 6;

/// No symbol has more bits.
pub const MAX_SYMBOL_BITS: u32 = 12;

/// Symbols of the finest split.
pub(crate) const ALPHABET: usize = 1 << MAX_SYMBOL_BITS;

/// How the elements of a type are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of what is taken apart at a time: an element, or one byte of it.
    pub unit_bytes: u8,
    /// Exponent bits, or 8 where every byte is a symbol.
    pub exponent_bits: u8,
    /// Mantissa bits in the upper half.
    pub mantissa_bits: u8,
    /// 1 where there is a sign, 0 for bytes.
    pub sign_bits: u8,
}

impl Layout {
    pub const fn of(dtype: Dtype) -> Self {
        let (unit_bytes, exponent_bits, mantissa_bits) = match dtype {
            Dtype::F32 => (4, 8, 7),
            Dtype::BF16 => (2, 8, 7),
            Dtype::F16 => (2, 5, 10),
            Dtype::F8_E4M3 | Dtype::F8_E4M3FNUZ => (1, 4, 3),
            Dtype::F8_E5M2 | Dtype::F8_E5M2FNUZ => (1, 5, 2),
            _ => return Self { unit_bytes: 1, exponent_bits: 8, mantissa_bits: 0, sign_bits: 0 },
        };
        Self { unit_bytes, exponent_bits, mantissa_bits, sign_bits: 1 }
    }

    /// Bits of the upper half.
    const fn upper_bits(self) -> u8 {
        self.sign_bits + self.exponent_bits + self.mantissa_bits
    }
}

/// The matrix of units that a tensor is coded as: [`Matrix::of_shape`], with as many columns for
/// each element as it has units; `None` where a count overflows.
pub fn unit_matrix(dtype: Dtype, shape: &[usize]) -> Option<Matrix> {
    let matrix = Matrix::of_shape(shape)?;
    let element_bits = dtype.bitsize();
    matrix.len().checked_mul(element_bits)?;
    let unit_bits = 8 * usize::from(Layout::of(dtype).unit_bytes);
    if element_bits.is_multiple_of(unit_bits) {
        let cols = matrix.cols.checked_mul(element_bits / unit_bits)?;
        return Some(Matrix { rows: matrix.rows, cols });
    }
    // Elements that share a byte: the tensor is a vector of bytes.
    let bytes = (matrix.len() * element_bits).div_ceil(8);
    Matrix::of_shape(&[bytes])
}

/// Where the bits of a raw plane come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The raw field of the upper half.
    Raw,
    /// The lower half.
    Lower,
    /// The bits that clean rows do not have.
    Clean,
}

/// One raw plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// Where its bits come from.
    pub source: Source,
    /// How far they are above the bottom of the source.
    pub shift: u8,
    /// How many there are: 1, 2, 4, 8 or 16, so that no element straddles two words.
    pub width: u8,
}

impl Plane {
    /// Whether only rows that are not clean have a part in it.
    pub fn is_sparse(&self) -> bool {
        self.source == Source::Clean
    }
}

/// How the elements of a tensor are taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Element type.
    pub dtype: Dtype,
    /// Mantissa bits that are coded together with the exponent: `t`.
    pub top_bits: u8,
    /// Low mantissa bits of an F16 that are coded together with the exponent: `b`.
    pub low_bits: u8,
    /// Bits at the bottom of an element that clean rows do not have.
    pub clean_bits: u8,
    layout: Layout,
    planes: [Plane; MAX_PLANES],
    plane_count: u8,
}

impl Split {
    /// The split of `dtype`; `None` where there is none with these numbers of bits.
    pub fn new(dtype: Dtype, top_bits: u8, low_bits: u8, clean_bits: u8) -> Option<Self> {
        let layout = Layout::of(dtype);
        let known = match dtype {
            Dtype::F32 => top_bits <= 2 && low_bits == 0 && [0, 8, 13, 16].contains(&clean_bits),
            Dtype::BF16 => {
                // What is coded of the mantissa is no clean bit.
                clean_bits <= BF16_CLEAN_BITS && top_bits <= 2.min(7 - clean_bits) && low_bits == 0
            }
            Dtype::F16 => top_bits <= 3 && low_bits <= 4 && [0, 3].contains(&clean_bits),
            _ => top_bits <= layout.mantissa_bits && low_bits == 0 && clean_bits == 0,
        };
        if !known {
            return None;
        }
        let none = Plane { source: Source::Raw, shift: 0, width: 0 };
        let planes = [none; MAX_PLANES];
        let mut split = Self { dtype, top_bits, low_bits, clean_bits, layout, planes, plane_count: 0 };
        split.add_raw();
        if dtype == Dtype::F32 {
            split.add_above(Source::Lower, clean_bits, powers_of_two(16 - clean_bits));
        }
        split.add(Source::Clean, clean_bits, powers_of_two(clean_bits));
        Some(split)
    }

    fn add(&mut self, source: Source, bits: u8, widths: &[u8]) {
        debug_assert_eq!(widths.iter().sum::<u8>(), bits);
        self.add_above(source, 0, widths);
    }

    /// Adds the planes of the raw field.
    fn add_raw(&mut self) {
        let bits = self.raw_bits();
        if self.layout.exponent_bits != 8 || self.layout.sign_bits == 0 {
            return self.add(Source::Raw, bits, powers_of_two(bits));
        }
        // Boundaries fall on 3, 5 and 7 kept mantissa bits whatever t is.
        let mantissa = self.top_bits + self.middle_bits();
        let ends = [3, 5, 7].map(|end: u8| end.min(mantissa) - self.top_bits + 1);
        let mut above = 0;
        for end in ends {
            self.add_above(Source::Raw, bits - end, powers_of_two(end - above));
            above = end;
        }
    }

    /// Adds planes, most significant first, the last of them `bottom` bits above the source's.
    fn add_above(&mut self, source: Source, bottom: u8, widths: &[u8]) {
        let mut shift = bottom + widths.iter().sum::<u8>();
        for &width in widths {
            shift -= width;
            self.planes[usize::from(self.plane_count)] = Plane { source, shift, width };
            self.plane_count += 1;
        }
    }

    /// Bytes of a unit: an element, or one byte of it where each byte is a symbol.
    pub fn unit_bytes(&self) -> usize {
        usize::from(self.layout.unit_bytes)
    }

    /// Bits of an element's mantissa, all of them.
    pub fn mantissa_bits(&self) -> u32 {
        let lower = if self.dtype == Dtype::F32 { 16 } else { 0 };
        u32::from(self.layout.mantissa_bits) + lower
    }

    /// Bits of an element's exponent.
    pub fn exponent_bits(&self) -> u32 {
        u32::from(self.layout.exponent_bits)
    }

    /// Bits of a symbol.
    pub fn symbol_bits(&self) -> u32 {
        u32::from(self.layout.exponent_bits + self.top_bits + self.low_bits)
    }

    /// Bits of the raw field: the sign and the mantissa bits of the upper half that are not coded.
    pub fn raw_bits(&self) -> u8 {
        self.layout.sign_bits + self.middle_bits()
    }

    /// Mantissa bits of the raw field.
    pub(crate) fn middle_bits(&self) -> u8 {
        self.layout.mantissa_bits - self.top_bits - self.low_bits - self.clean_in_upper()
    }

    /// Clean bits that lie in the upper half.
    fn clean_in_upper(&self) -> u8 {
        if self.dtype == Dtype::F32 { 0 } else { self.clean_bits }
    }

    /// The raw planes, most significant first, sparse ones last.
    #[inline(always)]
    pub fn planes(&self) -> &[Plane] {
        &self.planes[..usize::from(self.plane_count)]
    }

    /// The shifts and masks of this split.
    pub(crate) fn masks(&self) -> Masks {
        let layout = &self.layout;
        let clean = self.clean_in_upper();
        let ones = |bits: u8| ((1u32 << bits) - 1) as u16;
        Masks {
            magnitude: ones(layout.exponent_bits + layout.mantissa_bits),
            sign: if layout.sign_bits == 1 { 1 << (layout.upper_bits() - 1) } else { 0 },
            sign_to_raw: layout.upper_bits() - 1 - self.middle_bits(),
            high: layout.mantissa_bits - self.top_bits,
            low_bits: self.low_bits,
            low: ones(self.low_bits),
            clean_shift: clean,
            middle_shift: self.low_bits + clean,
            middle: ones(self.middle_bits()),
            symbol: ones(self.symbol_bits() as u8),
        }
    }
}

/// Where some bits of a raw plane's field are in one half of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The plane's index.
    pub plane: usize,
    /// How far the field is rotated up.
    pub up: u8,
    /// Its bits after that.
    pub mask: u16,
}

impl Split {
    /// Of what the raw planes hold, all that is in the upper halves of units, and all that is in the
    /// lower.
    pub(crate) fn pieces(&self) -> [Vec<Piece>; 2] {
        let masks = self.masks();
        let [mut upper, mut lower] = [Vec::new(), Vec::new()];
        for (index, plane) in self.planes().iter().enumerate() {
            let bits = (((1u32 << plane.width) - 1) << plane.shift) as u16;
            // Bits of the source, and how far above they are in the half.
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

/// A number of bits as different powers of two, ascending.
fn powers_of_two(bits: u8) -> &'static [u8] {
    match bits {
        0 => &[],
        1 => &[1],
        2 => &[2],
        3 => &[1, 2],
        4 => &[4],
        5 => &[1, 4],
        6 => &[2, 4],
        7 => &[1, 2, 4],
        8 => &[8],
        9 => &[1, 8],
        10 => &[2, 8],
        11 => &[1, 2, 8],
        13 => &[1, 4, 8],
        16 => &[16],
        _ => unreachable!("no split has {bits} bits in its planes"),
    }
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

    /// Where the bits of a symbol are in the upper half: how far those above the low ones are rotated up
    /// and their mask, and the same for the low ones.
    pub fn of_symbol(&self) -> [(u8, u16); 2] {
        let high = ((self.symbol >> self.low_bits) << self.high, (16 + self.high - self.low_bits) % 16);
        [(high.1, high.0), (self.clean_shift, self.low << self.clean_shift)]
    }

    /// Puts an upper half together again, clean bits left out. Bits above the symbol's are ignored.
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
    use super::*;

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
            let bits = split.layout.upper_bits();
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

    #[test]
    fn units_are_elements_or_bytes() {
        let of = |dtype, shape: &[usize]| unit_matrix(dtype, shape).map(|m| (m.rows, m.cols));
        assert_eq!(of(Dtype::BF16, &[70, 64]), Some((70, 64)));
        assert_eq!(of(Dtype::I64, &[70, 64]), Some((70, 512)));
        assert_eq!(of(Dtype::F4, &[70, 64]), Some((35, 64)));
        assert_eq!(of(Dtype::I64, &[usize::MAX / 4, 1]), None);
    }
}
