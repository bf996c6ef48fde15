//! The element types of GGUF files.

use std::fmt;

use super::Dtype;

/// The number that identifies an element type in a GGUF file. Every number is accepted, because files may
/// have types that are newer than this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GgmlType(pub u32);

/// A tensor whose elements have no [`Dtype`]: blocks that each contain several quantised weights. The rest of
/// this crate treats it as a row of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantized {
    /// The type of its blocks.
    pub ggml_type: GgmlType,
    /// Dimensions in weights, outermost first.
    pub shape: Vec<usize>,
}

/// Number, name, weights per block, bytes per block.
///
/// Q8_1 is missing because it is only for intermediate sums, and programs disagree on whether its block has
/// 36 or 40 bytes. The numbers 4, 5, 31 to 33 and 36 to 38 belonged to types that were abandoned.
const BLOCKS: &[(u32, &str, usize, usize)] = &[
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (29, "IQ1_M", 256, 56),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
    (42, "Q2_0", 64, 18),
];

impl GgmlType {
    /// The type of single elements; `None` for block types and unknown types.
    pub fn dtype(self) -> Option<Dtype> {
        Some(match self.0 {
            0 => Dtype::F32,
            1 => Dtype::F16,
            24 => Dtype::I8,
            25 => Dtype::I16,
            26 => Dtype::I32,
            27 => Dtype::I64,
            28 => Dtype::F64,
            30 => Dtype::BF16,
            _ => return None,
        })
    }

    /// Weights and bytes per block; `None` for an unknown type.
    pub fn block(self) -> Option<(usize, usize)> {
        let single = self.dtype().map(|dtype| (1, dtype.bitsize() / 8));
        single.or_else(|| self.known().map(|&(_, _, weights, bytes)| (weights, bytes)))
    }

    fn known(self) -> Option<&'static (u32, &'static str, usize, usize)> {
        BLOCKS.iter().find(|(number, ..)| *number == self.0)
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.dtype(), self.known()) {
            (Some(dtype), _) => dtype.fmt(f),
            (None, Some((_, name, ..))) => f.pad(name),
            (None, None) => f.pad(&format!("type {}", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_names_tell_the_bits_of_a_weight() {
        for (i, &(number, name, weights, bytes)) in BLOCKS.iter().enumerate() {
            assert!(BLOCKS[..i].iter().all(|b| b.0 != number && b.1 != name), "{name}");
            assert_eq!(GgmlType(number).dtype(), None, "{name}");
            // Scales add less than two bits per weight to the number in the name.
            let digit = name.chars().find(|c| c.is_ascii_digit()).unwrap().to_digit(10).unwrap() as f64;
            let bits = bytes as f64 * 8.0 / weights as f64;
            assert!((digit..digit + 2.0).contains(&bits), "{name}: {bits}");
        }
        assert_eq!(GgmlType(30).block(), Some((1, 2)));
        assert_eq!((GgmlType(9).block(), GgmlType(9).to_string()), (None, "type 9".into()));
        assert_eq!(GgmlType(12).to_string(), "Q4_K");
    }
}
