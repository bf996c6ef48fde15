//! GGUF files, written without the library under test.

use std::path::Path;

use super::{Random, bf16_bytes};

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q4_0: u32 = 2;
pub const Q8_0: u32 = 8;
pub const Q4_K: u32 = 12;
pub const I8: u32 = 24;
pub const BF16: u32 = 30;

/// A file that is put together piece by piece.
pub struct Gguf {
    pub version: u32,
    /// Where data begins, and what every tensor begins at a multiple of.
    pub alignment: usize,
    /// What padding is made of.
    pub fill: u8,
    /// Bytes in front of every tensor beyond the padding.
    pub gap: usize,
    /// Bytes behind the last tensor and its padding.
    pub trailing: Vec<u8>,
    /// Whether the descriptions are in another order than the data.
    pub reversed: bool,
    /// Whether the last tensor is padded.
    pub padded_end: bool,
    pub pairs: Vec<Vec<u8>>,
    pub tensors: Vec<Tensor>,
}

pub struct Tensor {
    pub name: Vec<u8>,
    /// Outermost first.
    pub shape: Vec<u64>,
    pub ggml_type: u32,
    pub data: Vec<u8>,
}

impl Default for Gguf {
    fn default() -> Self {
        Self {
            version: 3,
            alignment: 32,
            fill: 0,
            gap: 0,
            trailing: Vec::new(),
            reversed: false,
            padded_end: true,
            pairs: Vec::new(),
            tensors: Vec::new(),
        }
    }
}

pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

/// An array as a value: its items' type, their number, and the items.
pub fn array(item_type: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [&item_type.to_le_bytes()[..], &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
}

impl Gguf {
    /// Adds metadata: `value` is of the type with the number `value_type`.
    pub fn pair(mut self, key: &str, value_type: u32, value: &[u8]) -> Self {
        self.pairs.push([&text(key)[..], &value_type.to_le_bytes(), value].concat());
        self
    }

    /// Sets the alignment, and says so in the metadata.
    pub fn aligned(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.pair("general.alignment", 4, &alignment.to_le_bytes())
    }

    /// Adds a tensor. `shape` is outermost first.
    pub fn tensor(mut self, name: impl AsRef<[u8]>, ggml_type: u32, shape: &[u64], data: &[u8]) -> Self {
        let (name, shape, data) = (name.as_ref().into(), shape.into(), data.into());
        self.tensors.push(Tensor { name, shape, ggml_type, data });
        self
    }

    /// Gaussian BF16.
    pub fn weights(self, name: &str, shape: &[u64], seed: u64) -> Self {
        let values = Random::new(seed).gaussian_bf16(shape.iter().product::<u64>() as usize);
        self.tensor(name, BF16, shape, &bf16_bytes(&values))
    }

    /// Noise where quantised weights would be.
    pub fn noise(self, name: &str, ggml_type: u32, shape: &[u64], len: usize) -> Self {
        let mut random = Random::new(len as u64);
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        self.tensor(name, ggml_type, shape, &bytes)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut descriptions = Vec::new();
        for (i, Tensor { name, shape, ggml_type, data: bytes }) in self.tensors.iter().enumerate() {
            data.resize(data.len() + self.gap, self.fill);
            let mut description = text(name);
            description.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|dimension| description.extend(dimension.to_le_bytes()));
            description.extend(ggml_type.to_le_bytes());
            description.extend((data.len() as u64).to_le_bytes());
            descriptions.push(description);
            data.extend_from_slice(bytes);
            if self.padded_end || i + 1 < self.tensors.len() {
                data.resize(data.len().next_multiple_of(self.alignment), self.fill);
            }
        }
        if self.reversed {
            descriptions.reverse();
        }
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.pairs.len() as u64).to_le_bytes());
        file.extend(self.pairs.concat());
        file.extend(descriptions.concat());
        if self.padded_end || !self.tensors.is_empty() {
            file.resize(file.len().next_multiple_of(self.alignment), self.fill);
        }
        file.extend(data);
        file.extend_from_slice(&self.trailing);
        file
    }

    pub fn write(&self, path: &Path) -> Vec<u8> {
        let bytes = self.bytes();
        std::fs::write(path, &bytes).unwrap();
        bytes
    }
}

/// Every kind of metadata, and tensors of every kind, in a few kilobytes.
pub fn mixture() -> Gguf {
    let floats: Vec<u8> = (0..40u32).flat_map(|i| (i as f32 * 0.37 - 3.0).to_le_bytes()).collect();
    let halves: Vec<u8> = Random::new(3)
        .gaussian_f32(96 * 33)
        .into_iter()
        .flat_map(|v| half::f16::from_f32(v).to_le_bytes())
        .collect();
    let words = [text("a"), text(""), text("\u{e9}\u{1f600}")];
    Gguf::default()
        .pair("general.architecture", 8, &text("llama"))
        .pair("byte", 0, &[1])
        .pair("yes", 7, &[1])
        .pair("short", 3, &[1, 2])
        .pair("float", 6, &1.5f32.to_le_bytes())
        .pair("long", 10, &7u64.to_le_bytes())
        .pair("tokenizer.ggml.tokens", 9, &array(8, &words))
        .pair("scores", 9, &array(6, &[vec![0; 4], vec![1; 4]]))
        .pair("nested", 9, &array(9, &[array(0, &[vec![1], vec![2]]), array(8, &words), array(9, &[])]))
        .weights("token_embd.weight", &[128, 48], 11)
        .tensor("output_norm.weight", F32, &[40], &floats)
        .tensor("blk.0.half", F16, &[96, 33], &halves)
        .noise("blk.0.q4_0", Q4_0, &[3, 64], 3 * 2 * 18)
        .noise("blk.0.q8_0", Q8_0, &[1, 96], 3 * 34)
        .noise("blk.0.q4_k", Q4_K, &[2, 1, 512], 2 * 2 * 144)
        .tensor("nothing", BF16, &[0, 8], &[])
        .tensor("odd \u{e9} \"name\"\n\u{1f600}", I8, &[3], &[1, 2, 255])
}
