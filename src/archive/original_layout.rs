//! Where an original file's tensors were, according to its kept bytes.

use super::form::Form;
use super::index::Index;
use crate::tensor::{GgufHeader, TensorEntry, parse_header};

/// An original file's layout, according to its kept bytes.
pub(super) struct OriginalLayout {
    /// Bytes before the first tensor, without the gap.
    pub prefix_len: usize,
    /// All tensors in file order. Their ranges do not overlap.
    pub tensors: Vec<TensorEntry>,
}

impl OriginalLayout {
    /// The layout of an original of the given form. The bytes `outside` belong to no tensor; all others
    /// belong to tensors of the index.
    pub fn of(form: Form, outside: &[u8], index: &Index) -> Result<Self, String> {
        let unreadable = |e: String| format!("the original header is unreadable: {e}");
        match form {
            Form::Safetensors => {
                let header = parse_header(outside).map_err(|e| unreadable(e.to_string()))?;
                Ok(Self { prefix_len: header.data_start, tensors: header.tensors })
            }
            Form::Gguf => {
                let len = index.values().try_fold(outside.len(), |len, entry| len.checked_add(entry.bytes));
                let len = len.ok_or("the tensor lengths in the index exceed any possible file")?;
                let header = GgufHeader::of_kept(outside, |name| Some(index.get(name)?.bytes))
                    .map_err(|e| unreadable(e.to_string()))?;
                let tensors = header.entries(len).map_err(|e| unreadable(e.to_string()))?;
                Ok(Self { prefix_len: header.prefix_len(len), tensors })
            }
        }
    }
}
