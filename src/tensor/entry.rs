//! One tensor of a file: name, type, shape, and where its bytes are.

use std::ops::Range;

use super::{Dtype, Quantized};

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, unique in the file.
    pub name: String,
    /// Element type; U8 if `quantized` is set.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the number of bytes if `quantized` is set.
    pub shape: Vec<usize>,
    /// The tensor's quantised type, if it has no [`Dtype`]. Only in GGUF files.
    pub quantized: Option<Quantized>,
    /// Byte range in the file. In bounds by construction.
    pub range: Range<usize>,
}
