//! Which bits of an element are coded and which are raw.
//!
//! A float is `sign | exponent | mantissa`. Its **symbol** is the exponent with the top `t` mantissa
//! bits below it, and in F16 the lowest `b` mantissa bits that are not clean below those. What remains,
//! the sign above the middle of the mantissa, is the **raw field**. It is stored in planes, most
//! significant bits first, so that leaving out the last planes leaves out the least important bits.
//!
//! All of this happens in 16 bits, the **upper half**. The upper half of an F32 is a BF16; its
//! **lower half** is stored raw. The lowest `clean` bits of an element are stored only for rows in
//! which they are not all zero, in **sparse planes**: models that were once BF16 or F16 have none.
//!
//! Types without units of their own here, such as F64 and integers, are split into bytes, and each whole byte
//! is a symbol.

use super::unit_format::UnitFormat;
use crate::tensor::{Dtype, Matrix};

/// Maximum number of raw planes of a split.
pub const MAX_PLANES: usize = 9;

/// Maximum clean bits of a BF16: all of its mantissa except the highest bit.
pub const BF16_CLEAN_BITS: u8 = 6;

/// Maximum bits of a symbol.
pub const MAX_SYMBOL_BITS: u32 = 12;

/// Number of symbols of the finest split.
pub(crate) const ALPHABET: usize = 1 << MAX_SYMBOL_BITS;

/// The matrix of units that a tensor is coded as: [`Matrix::of_shape`], with as many columns per element as
/// it has units; `None` if a count overflows.
pub fn unit_matrix(dtype: Dtype, shape: &[usize]) -> Option<Matrix> {
    let matrix = Matrix::of_shape(shape)?;
    let element_bits = dtype.bitsize();
    matrix.len().checked_mul(element_bits)?;
    let unit_bits = 8 * usize::from(UnitFormat::of(dtype).unit_bytes);
    if element_bits.is_multiple_of(unit_bits) {
        let cols = matrix.cols.checked_mul(element_bits / unit_bits)?;
        return Some(Matrix { rows: matrix.rows, cols });
    }
    // Elements share bytes: the tensor is treated as a vector of bytes.
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
    /// The clean bits, which clean rows do not store.
    Clean,
}

/// One raw plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// Where its bits come from.
    pub source: Source,
    /// How far its bits are above the bottom of the source.
    pub shift: u8,
    /// Number of its bits: 1, 2, 4, 8 or 16, so that no element straddles two words.
    pub width: u8,
}

impl Plane {
    /// Whether only rows that are not clean are stored in it.
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
    /// Bits at the bottom of an element that clean rows do not store.
    pub clean_bits: u8,
    pub(crate) unit: UnitFormat,
    planes: [Plane; MAX_PLANES],
    plane_count: u8,
}

impl Split {
    /// The split of `dtype`; `None` if there is none with these numbers of bits.
    pub fn new(dtype: Dtype, top_bits: u8, low_bits: u8, clean_bits: u8) -> Option<Self> {
        let unit = UnitFormat::of(dtype);
        let known = match dtype {
            Dtype::F32 => top_bits <= 2 && low_bits == 0 && [0, 8, 13, 16].contains(&clean_bits),
            Dtype::BF16 => {
                // Coded mantissa bits cannot be clean bits.
                clean_bits <= BF16_CLEAN_BITS && top_bits <= 2.min(7 - clean_bits) && low_bits == 0
            }
            Dtype::F16 => top_bits <= 3 && low_bits <= 4 && [0, 3].contains(&clean_bits),
            _ => top_bits <= unit.mantissa_bits && low_bits == 0 && clean_bits == 0,
        };
        if !known {
            return None;
        }
        let none = Plane { source: Source::Raw, shift: 0, width: 0 };
        let planes = [none; MAX_PLANES];
        let mut split = Self { dtype, top_bits, low_bits, clean_bits, unit, planes, plane_count: 0 };
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
        if self.unit.exponent_bits != 8 || self.unit.sign_bits == 0 {
            return self.add(Source::Raw, bits, powers_of_two(bits));
        }
        // Boundaries fall on 3, 5 and 7 kept mantissa bits for any t.
        let mantissa = self.top_bits + self.middle_bits();
        let ends = [3, 5, 7].map(|end: u8| end.min(mantissa) - self.top_bits + 1);
        let mut above = 0;
        for end in ends {
            self.add_above(Source::Raw, bits - end, powers_of_two(end - above));
            above = end;
        }
    }

    /// Adds planes, most significant first. The last of them is `bottom` bits above the bottom of the source.
    fn add_above(&mut self, source: Source, bottom: u8, widths: &[u8]) {
        let mut shift = bottom + widths.iter().sum::<u8>();
        for &width in widths {
            shift -= width;
            self.planes[usize::from(self.plane_count)] = Plane { source, shift, width };
            self.plane_count += 1;
        }
    }

    /// Bytes of a unit: an element, or one byte of it if each byte is a symbol.
    pub fn unit_bytes(&self) -> usize {
        usize::from(self.unit.unit_bytes)
    }

    /// Total mantissa bits of an element.
    pub fn mantissa_bits(&self) -> u32 {
        let lower = if self.dtype == Dtype::F32 { 16 } else { 0 };
        u32::from(self.unit.mantissa_bits) + lower
    }

    /// Bits of an element's exponent.
    pub fn exponent_bits(&self) -> u32 {
        u32::from(self.unit.exponent_bits)
    }

    /// Bits of a symbol.
    pub fn symbol_bits(&self) -> u32 {
        u32::from(self.unit.exponent_bits + self.top_bits + self.low_bits)
    }

    /// Bits of the raw field: the sign and the mantissa bits of the upper half that are not coded.
    pub fn raw_bits(&self) -> u8 {
        self.unit.sign_bits + self.middle_bits()
    }

    /// Mantissa bits of the raw field.
    pub(crate) fn middle_bits(&self) -> u8 {
        self.unit.mantissa_bits - self.top_bits - self.low_bits - self.clean_in_upper()
    }

    /// Clean bits that lie in the upper half.
    pub(crate) fn clean_in_upper(&self) -> u8 {
        if self.dtype == Dtype::F32 { 0 } else { self.clean_bits }
    }

    /// The raw planes, most significant first, sparse ones last.
    #[inline(always)]
    pub fn planes(&self) -> &[Plane] {
        &self.planes[..usize::from(self.plane_count)]
    }
}

/// A number of bits as a sum of different powers of two, ascending.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_elements_or_bytes() {
        let of = |dtype, shape: &[usize]| unit_matrix(dtype, shape).map(|m| (m.rows, m.cols));
        assert_eq!(of(Dtype::BF16, &[70, 64]), Some((70, 64)));
        assert_eq!(of(Dtype::I64, &[70, 64]), Some((70, 512)));
        assert_eq!(of(Dtype::F4, &[70, 64]), Some((35, 64)));
        assert_eq!(of(Dtype::I64, &[usize::MAX / 4, 1]), None);
    }
}
