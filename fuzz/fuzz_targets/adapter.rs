//! Any bytes as an adapter for a small model: read or refused, without a panic or a memory need that its files' lengths do
//! not explain.
//!
//! The first two bytes of the input are the length of `adapter_config.json`, which follows; the rest is
//! `adapter_model.safetensors`.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use bantam::model::{Adapter, ModelConfig};
use libfuzzer_sys::{Corpus, fuzz_target};

/// `config.json` of the model that adapters are for; `scripts/fuzz` begins with one for it.
const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16,
    "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;

/// A folder of this process, and the model's configuration.
static PLACE: LazyLock<(PathBuf, ModelConfig)> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("bantam-fuzz-adapter-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), CONFIG).unwrap();
    let config = ModelConfig::open(&folder).unwrap();
    (folder, config)
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let (folder, config) = &*PLACE;
    let Some((&length, rest)) = input.split_first_chunk() else { return Corpus::Reject };
    let Some((text, weights)) = rest.split_at_checked(u16::from_le_bytes(length).into()) else {
        return Corpus::Reject;
    };
    std::fs::write(folder.join("adapter_config.json"), text).unwrap();
    std::fs::write(folder.join("adapter_model.safetensors"), weights).unwrap();
    match Adapter::open(folder, config) {
        Ok(adapter) => {
            assert!(adapter.scale.is_finite() && adapter.rank > 0);
            for (&(layer, _), pair) in &adapter.pairs {
                assert!(layer < config.layers && pair.a.len() % adapter.rank == 0);
                assert!(pair.b.len() % adapter.rank == 0 && 4 * (pair.a.len() + pair.b.len()) <= 2 * weights.len());
            }
        }
        // Every error names a file.
        Err(error) => assert!(error.to_string().contains("adapter"), "{error}"),
    }
    Corpus::Keep
});
