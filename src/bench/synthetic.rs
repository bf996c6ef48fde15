//! Models of well-known sizes with random weights.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::BenchError;
use super::weights;
use crate::archive::{self, ArchiveError, Options, Progress, reported};
use crate::tensor::Dtype;

/// Elements to generate and write at a time.
const PIECE: usize = 32 << 20;

/// Approximate bytes of an uncompressed shard.
const SHARD: u64 = 2 << 30;

/// The size of a model of the Llama family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The name.
    pub name: &'static str,
    /// Elements of the residual stream.
    pub hidden: usize,
    /// Intermediate elements of the MLP.
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
    /// Whether the embedding is also the output matrix.
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
    /// The size called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        SIZES.iter().find(|size| size.name == name)
    }

    /// Writes `config.json` and `model.safetensors`. Matrices are Gaussian, norms are ones; all tensors are
    /// BF16.
    pub(super) fn write(&self, folder: &Path, progress: &dyn Progress) -> Result<(), BenchError> {
        std::fs::write(folder.join("config.json"), self.config().to_string())?;
        let tensors = self.tensors();
        reported(progress, total_bytes(&tensors), "making weights", || {
            write_tensors(&folder.join("model.safetensors"), 0, &tensors, progress)
        })
    }

    /// Writes a compressed model folder like that of [`bench`](crate::bench::Bench::synthetic):
    /// `config.json`, shards, and their index. `folder` must exist. Each shard is compressed before the next
    /// one is generated, so memory does not grow with the model, and the disk has only one uncompressed
    /// shard.
    pub fn write_compressed(&self, folder: &Path, progress: &dyn Progress) -> Result<(), BenchError> {
        std::fs::write(folder.join("config.json"), self.config().to_string())?;
        let tensors = self.tensors();
        let shards = shards(&tensors);
        let mut index = Map::new();
        let made = reported(progress, total_bytes(&tensors), "making weights", || {
            for (i, shard) in shards.iter().enumerate() {
                let name = format!("model-{:05}-of-{:05}", i + 1, shards.len());
                let plain = folder.join(format!("{name}.safetensors"));
                write_tensors(&plain, shard.start, &tensors[shard.clone()], progress)?;
                let packed = folder.join(format!("{name}.bantam.safetensors"));
                archive::compress_file(&plain, &packed, &Options::default(), &())?;
                std::fs::remove_file(&plain)?;
                let entry =
                    |(tensor, _): &(String, _)| (tensor.clone(), format!("{name}.safetensors").into());
                index.extend(tensors[shard.clone()].iter().map(entry));
            }
            Ok::<_, BenchError>(())
        });
        made?;
        let index = json!({ "metadata": { "total_size": total_bytes(&tensors) }, "weight_map": index });
        Ok(std::fs::write(folder.join("model.safetensors.index.json"), index.to_string())?)
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

fn total_bytes(tensors: &[(String, Vec<usize>)]) -> u64 {
    tensors.iter().map(|(_, shape)| bytes(shape) as u64).sum()
}

/// Splits tensors into shards of at most [`SHARD`] bytes, or of one tensor.
fn shards(tensors: &[(String, Vec<usize>)]) -> Vec<Range<usize>> {
    let (mut shards, mut sum) = (Vec::<Range<usize>>::new(), 0);
    for (i, (_, shape)) in tensors.iter().enumerate() {
        let bytes = bytes(shape) as u64;
        match shards.last_mut() {
            Some(shard) if sum + bytes <= SHARD => shard.end = i + 1,
            _ => {
                shards.push(i..i + 1);
                sum = 0;
            }
        }
        sum += bytes;
    }
    shards
}

/// Writes a safetensors file of `tensors`. The first of them has number `first` in the model.
fn write_tensors(
    path: &Path,
    first: usize,
    tensors: &[(String, Vec<usize>)],
    progress: &dyn Progress,
) -> Result<(), BenchError> {
    let mut file = BufWriter::new(File::create(path)?);
    let header = header(tensors);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (i, (_, shape)) in tensors.iter().enumerate() {
        write(&mut file, shape, first + i, progress)?;
    }
    Ok(file.flush()?)
}

fn bytes(shape: &[usize]) -> usize {
    2 * shape.iter().product::<usize>()
}

/// The header of a safetensors file with `tensors` in this order.
fn header(tensors: &[(String, Vec<usize>)]) -> String {
    let mut at = 0;
    let entry = |(name, shape): &(String, Vec<usize>)| {
        let start = at;
        at += bytes(shape);
        (name.clone(), json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, at] }))
    };
    let header = Value::Object(tensors.iter().map(entry).collect::<Map<_, _>>()).to_string();
    // Padded, so that the data begins at a multiple of eight bytes.
    format!("{header:width$}", width = header.len().next_multiple_of(8))
}

/// Writes tensor number `index`, in pieces.
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
    fn a_model_in_shards_has_the_same_weights() {
        let size =
            Size { hidden: 64, intermediate: 96, vocab: 300, layers: 2, heads: 4, kv_heads: 2, ..SIZES[2] };
        let size = Size { head_dim: 16, ..size };
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        size.write(folders[0].path(), &()).unwrap();
        size.write_compressed(folders[1].path(), &()).unwrap();
        let [plain, packed] = folders.each_ref().map(|folder| ModelFiles::open(folder.path()).unwrap());
        assert_eq!(packed.weights().count(), 9 * 2 + 3);
        for weight in plain.weights() {
            assert!(packed.require(weight.name).unwrap().bytes().unwrap() == weight.bytes().unwrap());
        }
    }

    #[test]
    fn shards_are_cut_between_tensors() {
        let of = |sizes: &[u64]| {
            let tensor = |bytes: &u64| (String::new(), vec![(bytes / 2) as usize]);
            shards(&sizes.iter().map(tensor).collect::<Vec<_>>())
        };
        assert_eq!(of(&[SHARD / 2, SHARD / 2, 2]), [0..2, 2..3]);
        assert_eq!(of(&[2 * SHARD, 2, SHARD - 2]), [0..1, 1..3]);
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
