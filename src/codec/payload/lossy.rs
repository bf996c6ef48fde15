//! Rounding on request when a tensor is encoded.

use super::grid::{CHUNK, MAX_TILE_COLS};
use super::split::BF16_CLEAN_BITS;
use crate::tensor::Dtype;

/// How matrices are rounded on request, so that decoding does not return the original.
///
/// A block is a number of neighbouring elements in a row. Each element is divided by its block's scale, which
/// is the largest magnitude in it, and rounded to a few mantissa bits (NeuZip's block-normalised rounding,
/// Hao et al. 2024). Only BF16, F16 and F32 of two dimensions or more are rounded, and only if all elements
/// are finite. All other tensors are stored exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lossy {
    mantissa_bits: u8,
    block: u16,
}

/// Why a rounding is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuchLossy {
    /// The number of mantissa bits.
    #[error("weights are rounded to 1 to 6 mantissa bits, not {0}")]
    MantissaBits(u8),
    /// The number of elements in a block.
    #[error("a block is a multiple of 16 elements, from 16 to 1024, not {0}")]
    Block(usize),
}

impl Lossy {
    /// Maximum mantissa bits to round to: one less than a BF16 has.
    pub const MOST_BITS: u8 = BF16_CLEAN_BITS;
    /// Default number of elements in a block.
    pub const BLOCK: usize = 512;

    /// Rounding to `mantissa_bits` mantissa bits, in blocks of `block` elements.
    pub fn new(mantissa_bits: u8, block: usize) -> Result<Self, NoSuchLossy> {
        if !(1..=Self::MOST_BITS).contains(&mantissa_bits) {
            return Err(NoSuchLossy::MantissaBits(mantissa_bits));
        }
        if block == 0 || !block.is_multiple_of(CHUNK) || block > MAX_TILE_COLS {
            return Err(NoSuchLossy::Block(block));
        }
        Ok(Self { mantissa_bits, block: block as u16 })
    }

    /// Mantissa bits that are kept: 1 to 6.
    pub fn mantissa_bits(&self) -> u8 {
        self.mantissa_bits
    }

    /// Elements of a row that share a scale: the width of a tile.
    pub fn block(&self) -> usize {
        usize::from(self.block)
    }

    /// Clean bits of a quotient.
    pub(crate) fn clean_bits(&self) -> u8 {
        BF16_CLEAN_BITS + 1 - self.mantissa_bits
    }

    /// Whether tensors of this kind are rounded, if they are finite.
    pub fn applies(&self, dtype: Dtype, shape: &[usize]) -> bool {
        matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32) && shape.len() >= 2
    }
}

impl std::fmt::Display for Lossy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "k{} in blocks of {}", self.mantissa_bits, self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        for (bits, block) in [(1, 16), (3, 512), (6, 1024), (2, 48)] {
            let lossy = Lossy::new(bits, block).unwrap();
            assert_eq!((lossy.mantissa_bits(), lossy.block()), (bits, block));
        }
        for bits in [0, 7, 255] {
            assert_eq!(Lossy::new(bits, 512), Err(NoSuchLossy::MantissaBits(bits)));
        }
        for block in [0, 8, 100, 1040, usize::MAX] {
            assert_eq!(Lossy::new(3, block), Err(NoSuchLossy::Block(block)));
        }
    }
}
