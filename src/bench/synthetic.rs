//! Models of well-known sizes with random weights.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::BenchError;
use super::weights;
use crate::archive::{ArchiveError, Progress, reported};
use crate::tensor::Dtype;

/// Elements that are made and written at a time.
const PIECE: usize = 32 << 20;

/// The size of a model of the Llama family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// What it is called.
    pub name: &'static str,
    /// Elements of the residual stream.
    pub hidden: usize,
    /// Elements between the halves of the MLP.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Whether the embedding is the output matrix too.
    pub tied: bool,
}

/// SmolLM2-135M, Llama-3.2-1B and Llama-3.1-8B.
pub const SIZES: [Size; 3] = [
    Size {
        name: "135M",
        hidden: 576,
        intermediate: 1536,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49_152,
        tied: true,
    },
    Size {
        name: "1B",
        hidden: 2048,
        intermediate: 8192,
        layers: 16,
        heads: 32,
        kv_heads: 8,
        head_dim: 64,
        vocab: 128_256,
        tied: true,
    },
    Size {
        name: "8B",
        hidden: 4096,
        intermediate: 14_336,
        layers: 32,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        vocab: 128_256,
        tied: false,
    },
];

impl Size {
    /// The size of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SIZES.iter().find(|size| size.name == name)
    }

    /// Writes `config.json` and `model.safetensors`: matrices are Gaussian, norms are ones, all BF16.
    pub(super) fn write(&self, folder: &Path, progress: &dyn Progress) -> Result<(), BenchError> {
        std::fs::write(folder.join("config.json"), self.config().to_string())?;
        let tensors = self.tensors();
        let total = tensors.iter().map(|(_, shape)| bytes(shape) as u64).sum();
        let mut file = BufWriter::new(File::create(folder.join("model.safetensors"))?);
        let header = header(&tensors);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        reported(progress, total, "making weights", || {
            tensors.iter().enumerate().try_for_each(|(i, (_, shape))| write(&mut file, shape, i, progress))
        })?;
        Ok(file.flush()?)
    }

    fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_theta": 500000.0,
            "tie_word_embeddings": self.tied,
        })
    }

    /// Names and shapes of all tensors.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, intermediate) = (self.hidden, self.intermediate);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut all = vec![("model.embed_tokens.weight".to_string(), vec![self.vocab, hidden])];
        for layer in 0..self.layers {
            let parts = [
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![q, hidden]),
                ("self_attn.k_proj", vec![kv, hidden]),
                ("self_attn.v_proj", vec![kv, hidden]),
                ("self_attn.o_proj", vec![hidden, q]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![intermediate, hidden]),
                ("mlp.up_proj", vec![intermediate, hidden]),
                ("mlp.down_proj", vec![hidden, intermediate]),
            ];
            all.extend(parts.map(|(part, shape)| (format!("model.layers.{layer}.{part}.weight"), shape)));
        }
        all.push(("model.norm.weight".into(), vec![hidden]));
        if !self.tied {
            all.push(("lm_head.weight".into(), vec![self.vocab, hidden]));
        }
        all
    }
}

fn bytes(shape: &[usize]) -> usize {
    2 * shape.iter().product::<usize>()
}

/// The header of a safetensors file with these tensors one after the other.
fn header(tensors: &[(String, Vec<usize>)]) -> String {
    let mut at = 0;
    let entry = |(name, shape): &(String, Vec<usize>)| {
        let start = at;
        at += bytes(shape);
        (name.clone(), json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, at] }))
    };
    let header = Value::Object(tensors.iter().map(entry).collect::<Map<_, _>>()).to_string();
    // So that the data begins at a multiple of eight bytes.
    format!("{header:width$}", width = header.len().next_multiple_of(8))
}

/// Writes the tensor of number `index`, in pieces.
fn write(
    file: &mut impl Write,
    shape: &[usize],
    index: usize,
    progress: &dyn Progress,
) -> Result<(), BenchError> {
    let count = bytes(shape) / 2;
    for (piece, start) in (0..count).step_by(PIECE).enumerate() {
        if progress.cancelled() {
            return Err(ArchiveError::Cancelled.into());
        }
        let count = PIECE.min(count - start);
        let elements = match shape {
            [_] => half::bf16::ONE.to_le_bytes().repeat(count),
            _ => weights::gaussian(Dtype::BF16, count, (index << 16 | piece) as u64),
        };
        file.write_all(&elements)?;
        progress.advance(elements.len() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ModelFiles;
    use crate::model::ModelConfig;

    #[test]
    fn sizes_have_the_parameters_that_their_names_say() {
        let parameters = |size: &Size| size.tensors().iter().map(|(_, s)| bytes(s) as u64 / 2).sum::<u64>();
        assert_eq!(SIZES.map(|size| parameters(&size)), [134_515_008, 1_235_814_400, 8_030_261_248]);
        for size in SIZES {
            let config = ModelConfig::parse(&size.config().to_string(), Path::new("config.json")).unwrap();
            assert_eq!(
                (config.hidden, config.head_dim, config.tied),
                (size.hidden, size.head_dim, size.tied)
            );
        }
        assert_eq!(Size::named("1B"), Some(&SIZES[1]));
        assert_eq!(Size::named("2B"), None);
    }

    #[test]
    fn what_is_written_is_a_model() {
        let size =
            Size { hidden: 64, intermediate: 96, layers: 2, heads: 4, kv_heads: 2, vocab: 300, ..SIZES[2] };
        let size = Size { head_dim: 16, ..size };
        let folder = tempfile::tempdir().unwrap();
        size.write(folder.path(), &()).unwrap();
        let files = ModelFiles::open(folder.path()).unwrap();
        assert_eq!(files.weights().count(), 9 * 2 + 3);
        let norm = files.require("model.norm.weight").unwrap().bytes().unwrap();
        assert!(norm.chunks(2).all(|b| b == half::bf16::ONE.to_le_bytes()));
        let q = files.require("model.layers.0.self_attn.q_proj.weight").unwrap().bytes().unwrap();
        let o = files.require("model.layers.0.self_attn.o_proj.weight").unwrap().bytes().unwrap();
        assert!(q.len() == o.len() && q != o);
    }
}
