//! The composition of the elements of each type.

use crate::tensor::Dtype;

/// The composition of an element: how many bits each of its parts has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitFormat {
    /// Bytes of a unit: an element, or one byte of it.
    pub unit_bytes: u8,
    /// Exponent bits, or 8 if every byte is a symbol.
    pub exponent_bits: u8,
    /// Mantissa bits in the upper half.
    pub mantissa_bits: u8,
    /// 1 if there is a sign, 0 for bytes.
    pub sign_bits: u8,
}

impl UnitFormat {
    /// The format of the units of `dtype`.
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
    pub const fn upper_bits(self) -> u8 {
        self.sign_bits + self.exponent_bits + self.mantissa_bits
    }
}
