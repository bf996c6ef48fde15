//! Where an original file's tensors were, as its kept bytes describe it.

use super::form::Form;
use super::index::Index;
use crate::tensor::{GgufHeader, TensorEntry, parse_header};

/// An original file's layout, as its kept bytes describe it.
pub(super) struct OriginalLayout {
    /// Bytes in front of the first tensor, but for a gap.
    pub prefix_len: usize,
    /// All tensors in file order. Their ranges do not overlap.
    pub tensors: Vec<TensorEntry>,
}

impl OriginalLayout {
    /// The layout of an original of that form, of which the bytes `outside` belong to no tensor, and the others
    /// to those of the index.
    pub fn of(form: Form, outside: &[u8], index: &Index) -> Result<Self, String> {
        let unreadable = |e: String| format!("the original header is unreadable: {e}");
        match form {
            Form::Safetensors => {
                let header = parse_header(outside).map_err(|e| unreadable(e.to_string()))?;
                Ok(Self { prefix_len: header.data_start, tensors: header.tensors })
            }
            Form::Gguf => {
                let len = index.values().try_fold(outside.len(), |len, entry| len.checked_add(entry.bytes));
                let len = len.ok_or("the index has lengths that no file has")?;
                let header = GgufHeader::of_kept(outside, |name| Some(index.get(name)?.bytes))
                    .map_err(|e| unreadable(e.to_string()))?;
                let tensors = header.entries(len).map_err(|e| unreadable(e.to_string()))?;
                Ok(Self { prefix_len: header.prefix_len(len), tensors })
            }
        }
    }
}
