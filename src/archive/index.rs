//! The container's JSON header: what the writer puts into it and the reader finds there.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Form;
use crate::codec::grid::SECTION_ALIGN;
use crate::codec::{Lossy, NoSuchLossy};
use crate::tensor::Dtype;

/// The version of a container whose original is a safetensors file.
pub const VERSION: &str = "1";
/// The version of a container that names the form of its original.
pub const VERSION_OF_FORMS: &str = "2";

/// Metadata key of the container version.
pub const VERSION_KEY: &str = "bantam.format";
/// Metadata key of the index: a JSON object as a string, from tensor name to [`IndexEntry`].
pub const INDEX_KEY: &str = "bantam.index";
/// Metadata key of the name of the tensor that keeps the original header.
pub const ORIGINAL_HEADER_KEY: &str = "bantam.original_header";
/// Metadata key of the original's form, from [`VERSION_OF_FORMS`] on.
pub const FORM_KEY: &str = "bantam.original_form";
/// Metadata key that only files with rounded tensors have: how they were rounded, in words.
pub const LOSSY_KEY: &str = "bantam.lossy";
/// The form of an original that is a GGUF file.
pub const GGUF_FORM: &str = "gguf";
/// The name of the original header's tensor, unless the original file has a tensor of this name.
pub const ORIGINAL_HEADER_NAME: &str = "bantam.original_header";

/// What the index says about a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Bytes of the original tensor.
    pub bytes: usize,
    /// BLAKE3 of the bytes that are decoded, in hexadecimal: those of the original tensor, unless it was rounded.
    pub blake3: String,
    /// How it was rounded; `None` where it is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossy: Option<LossyEntry>,
}

/// What the index says about how a tensor was rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossyEntry {
    /// Mantissa bits that are left.
    pub mantissa: u8,
    /// Elements that share a scale.
    pub block: usize,
}

impl From<Lossy> for LossyEntry {
    fn from(lossy: Lossy) -> Self {
        Self { mantissa: lossy.mantissa_bits(), block: lossy.block() }
    }
}

impl TryFrom<LossyEntry> for Lossy {
    type Error = NoSuchLossy;

    fn try_from(entry: LossyEntry) -> Result<Self, NoSuchLossy> {
        Self::new(entry.mantissa, entry.block)
    }
}

/// The index as a reader gets it.
pub type Index = HashMap<String, IndexEntry>;

/// A name for the original header's tensor that is not one of `names`.
pub(super) fn original_header_name<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut name = ORIGINAL_HEADER_NAME.to_string();
    while names.clone().any(|n| n == name) {
        name.push('_');
    }
    name
}

/// What the container's header is made of.
pub(super) struct Contents<'a> {
    /// What the original is.
    pub form: Form,
    /// The `format` that the original's metadata names (`"pt"`), which viewers like to see.
    pub framework: Option<&'a str>,
    /// Name and length of the tensor that keeps the original header.
    pub original_header: (&'a str, usize),
    /// Name, index entry and payload length of every tensor, in the order of the payloads.
    pub tensors: &'a [(String, IndexEntry, usize)],
}

impl Contents<'_> {
    /// Length prefix, JSON and spaces, `len` bytes in all; `None` where that is too short.
    pub fn header(&self, len: usize) -> Option<Vec<u8>> {
        let json = self.json(None);
        let padding = len.checked_sub(8 + json.len())?;
        let mut header = ((len - 8) as u64).to_le_bytes().to_vec();
        header.extend_from_slice(json.as_bytes());
        header.resize(header.len() + padding, b' ');
        Some(header)
    }

    /// A length that [`Contents::header`] will fit, whatever the payloads' lengths turn out to be
    /// as long as they end before `data_end`.
    pub fn room(&self, data_end: usize) -> usize {
        (8 + self.json(Some(data_end)).len()).next_multiple_of(SECTION_ALIGN)
    }

    fn json(&self, every_offset: Option<usize>) -> String {
        let mut index = Map::new();
        let mut header = Map::new();
        header.insert("__metadata__".into(), Value::Null);
        let mut at = 0;
        let mut put = |name: &str, len: usize| {
            let offsets = every_offset.map_or([at, at + len], |o| [o, o]);
            let shape = every_offset.unwrap_or(len);
            header.insert(name.into(), json!({ "dtype": "U8", "shape": [shape], "data_offsets": offsets }));
            at += len;
        };
        put(self.original_header.0, self.original_header.1);
        for (name, entry, payload_len) in self.tensors {
            put(name, *payload_len);
            index.insert(name.clone(), json!(entry));
        }
        let mut metadata = Map::new();
        if let Some(framework) = self.framework {
            metadata.insert("format".into(), framework.into());
        }
        metadata.extend(self.form.metadata().into_iter().map(|(key, value)| (key.into(), value.into())));
        if let Some(lossy) = self.tensors.iter().find_map(|(_, entry, _)| entry.lossy) {
            let LossyEntry { mantissa, block } = lossy;
            let words = format!("rounded to {mantissa} mantissa bits in blocks of {block}: not the original");
            metadata.insert(LOSSY_KEY.into(), words.into());
        }
        metadata.insert(ORIGINAL_HEADER_KEY.into(), self.original_header.0.into());
        metadata.insert(INDEX_KEY.into(), Value::Object(index).to_string().into());
        header.insert("__metadata__".into(), Value::Object(metadata));
        Value::Object(header).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_original_header_is_unique() {
        assert_eq!(original_header_name(["a"].into_iter()), "bantam.original_header");
        let taken = ["bantam.original_header_", "bantam.original_header"];
        assert_eq!(original_header_name(taken.into_iter()), "bantam.original_header__");
    }
}
