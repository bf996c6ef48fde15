//! What kind of file a compressed one was made from, and what follows for the container.

use std::collections::HashMap;

use super::index::{FORM_KEY, GGUF_FORM, Index, VERSION, VERSION_KEY, VERSION_OF_FORMS};
use crate::tensor::{GgufHeader, SourceFile, TensorEntry, parse_header};

/// The kind of an original file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A safetensors file.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

/// An original file's layout, as its kept bytes describe it.
pub(super) struct Layout {
    /// Bytes in front of the first tensor, but for a gap.
    pub prefix_len: usize,
    /// All tensors in file order. Their ranges do not overlap.
    pub tensors: Vec<TensorEntry>,
}

impl Form {
    /// The form of `file`.
    pub(super) fn of(file: &SourceFile) -> Self {
        match file {
            SourceFile::Safetensors(_) => Self::Safetensors,
            SourceFile::Gguf(_) => Self::Gguf,
        }
    }

    /// Metadata that tells a container's readers the form. For a safetensors file it is what it was
    /// before there were forms; any other has a version that readers from that time refuse.
    pub(super) fn metadata(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Safetensors => vec![(VERSION_KEY, VERSION)],
            Self::Gguf => vec![(VERSION_KEY, VERSION_OF_FORMS), (FORM_KEY, GGUF_FORM)],
        }
    }

    /// The form that a container's metadata tells, or the version that is not known.
    pub(super) fn from_metadata(metadata: &HashMap<String, String>, version: &str) -> Result<Self, String> {
        match (version, metadata.get(FORM_KEY).map(|form| &form[..])) {
            (VERSION, _) => Ok(Self::Safetensors),
            (VERSION_OF_FORMS, Some(GGUF_FORM)) => Ok(Self::Gguf),
            (VERSION_OF_FORMS, Some(form)) => Err(format!("{version} ({form:?})")),
            (version, _) => Err(version.into()),
        }
    }

    /// The layout of an original of which the bytes `outside` belong to no tensor, and the others
    /// to those of the index.
    pub(super) fn layout(self, outside: &[u8], index: &Index) -> Result<Layout, String> {
        let unreadable = |e: String| format!("the original header is unreadable: {e}");
        match self {
            Self::Safetensors => {
                let header = parse_header(outside).map_err(|e| unreadable(e.to_string()))?;
                Ok(Layout { prefix_len: header.data_start, tensors: header.tensors })
            }
            Self::Gguf => {
                let len = index.values().try_fold(outside.len(), |len, entry| len.checked_add(entry.bytes));
                let len = len.ok_or("the index has lengths that no file has")?;
                let header = GgufHeader::of_kept(outside, |name| Some(index.get(name)?.bytes))
                    .map_err(|e| unreadable(e.to_string()))?;
                let tensors = header.entries(len).map_err(|e| unreadable(e.to_string()))?;
                Ok(Layout { prefix_len: header.prefix_len(len), tensors })
            }
        }
    }
}
