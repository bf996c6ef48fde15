//! One tensor of a file: name, type, shape, and where its bytes are.

use std::ops::Range;

use super::{Dtype, Quantized};

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, unique in the file.
    pub name: String,
    /// Element type; U8 where `quantized` says more.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the number of bytes where `quantized` says more.
    pub shape: Vec<usize>,
    /// What the tensor is, where it is of no [`Dtype`]. Only in GGUF files.
    pub quantized: Option<Quantized>,
    /// Where its bytes lie, counted from the start of the file. In bounds by construction.
    pub range: Range<usize>,
}
