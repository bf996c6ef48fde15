//! Plain safetensors files, written without the library under test.

use std::path::Path;

use super::{Random, bf16_bytes};

/// A file that is put together tensor by tensor.
#[derive(Default)]
pub struct PlainFile {
    entries: Vec<String>,
    data: Vec<u8>,
    /// Spaces, tabs and line ends behind the JSON, to make its length odd.
    pub trailing: &'static str,
    /// Written between the members of the header.
    pub separator: &'static str,
}

impl PlainFile {
    pub fn tensor(mut self, name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) -> Self {
        let offsets = [self.data.len(), self.data.len() + bytes.len()];
        self.entries
            .push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":{offsets:?}}}"#));
        self.data.extend_from_slice(bytes);
        self
    }

    /// Gaussian BF16.
    pub fn weights(self, name: &str, shape: &[usize], seed: u64) -> Self {
        let values = Random::new(seed).gaussian_bf16(shape.iter().product());
        self.tensor(name, "BF16", shape, &bf16_bytes(&values))
    }

    pub fn member(mut self, json: &str) -> Self {
        self.entries.push(json.into());
        self
    }

    pub fn trailing(mut self, trailing: &'static str) -> Self {
        self.trailing = trailing;
        self
    }

    pub fn separator(mut self, separator: &'static str) -> Self {
        self.separator = separator;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let json = self.entries.join(&format!(",{}", self.separator));
        let header = format!("{{{json}}}{}", self.trailing);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&self.data);
        bytes
    }

    pub fn write(&self, path: &Path) -> Vec<u8> {
        let bytes = self.bytes();
        std::fs::write(path, &bytes).unwrap();
        bytes
    }
}

/// A file with every kind of payload in a few kilobytes.
pub fn small_mixture() -> PlainFile {
    let floats: Vec<u8> = (0..40u32).flat_map(|i| (i as f32 * 0.37 - 3.0).to_le_bytes()).collect();
    PlainFile::default()
        .member(r#""__metadata__":{"format":"pt"}"#)
        .weights("model.embed", &[128, 48], 11)
        .tensor("model.norm", "F32", &[40], &floats)
        .tensor("model.empty", "BF16", &[0, 8], &[])
        .tensor("model.same", "BF16", &[64, 64], &[0x80, 0x3f].repeat(64 * 64))
        .tensor("odd \\u00e9 \\\" name", "I8", &[3], &[1, 2, 255])
}
