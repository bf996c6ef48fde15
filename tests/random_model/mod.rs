//! Small random models in the Hugging Face layout, the same on every platform.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::path::Path;

use bantam::tensor::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::data::Random;

/// `config.json` of a small model, odd in every size, with `changes` made to it.
pub fn config(architecture: &str, changes: Value) -> Value {
    let mut config = json!({
        "architectures": [architecture],
        "hidden_act": "silu",
        "hidden_size": 80,
        "intermediate_size": 172,
        "num_hidden_layers": 3,
        "num_attention_heads": 10,
        "num_key_value_heads": 5,
        "vocab_size": 300,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": false,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// A whole number of `config.json`.
pub fn size(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap() as usize
}

/// Elements of a head.
pub fn head_dim(config: &Value) -> usize {
    let divided = || size(config, "hidden_size") / size(config, "num_attention_heads");
    config["head_dim"].as_u64().map_or_else(divided, |dim| dim as usize)
}

/// Writes `config.json` and `model.safetensors` with random weights. They are larger than trained
/// ones, so that attention picks and a mistake in it shows.
pub fn write(folder: &Path, config: &Value, dtype: Dtype) {
    write_clean(folder, config, dtype, 0);
}

/// As [`write`], with the lowest bits of every element zero.
pub fn write_clean(folder: &Path, config: &Value, dtype: Dtype, clean_bits: u32) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut random = Random::new(42);
    let tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = shapes(config)
        .into_iter()
        .map(|(name, shape)| {
            let values = values(&mut random, &name, &shape);
            let mut bytes: Vec<u8> = values.into_iter().flat_map(|v| element(dtype, v)).collect();
            clear_low_bits(&mut bytes, dtype, clean_bits);
            (name, (shape, bytes))
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, (shape, bytes))| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}

/// The tensors of a file by name: types, shapes and bytes.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Changes the tensors in `model.safetensors` of a folder.
pub fn change(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let owned = |(name, t): (&str, TensorView<'_>)| {
        (name.to_string(), (t.dtype(), t.shape().to_vec(), t.data().to_vec()))
    };
    let mut tensors: Tensors = tensors.iter().map(owned).collect();
    change(&mut tensors);
    let view = |(name, (dtype, shape, bytes))| (name, TensorView::new(dtype, shape, bytes).unwrap());
    let views =
        tensors.iter().map(|(name, (dtype, shape, bytes))| (name, (*dtype, shape.clone(), &bytes[..])));
    safetensors::serialize_to_file(views.map(view), None, &path).unwrap();
}

/// Makes all elements of a BF16 tensor `value`.
pub fn fill(folder: &Path, name: &str, value: f32) {
    change(folder, |tensors| {
        let bytes = &mut tensors.get_mut(name).unwrap().2;
        bytes.chunks_exact_mut(2).for_each(|e| e.copy_from_slice(&half::bf16::from_f32(value).to_le_bytes()));
    });
}

fn values(random: &mut Random, name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let unit = random.gaussian_f32(count).into_iter().map(|v| v * 50.0);
    let (offset, scale) = match shape {
        [_] if name.ends_with("norm.weight") => (1.0, 0.3),
        [_] => (0.0, 0.3),
        _ if name.ends_with("embed_tokens.weight") => (0.0, 1.0),
        _ => (0.0, 1.5 / (shape[1] as f32).sqrt()),
    };
    unit.map(|v| offset + scale * v).collect()
}

fn element(dtype: Dtype, value: f32) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::F32 => value.to_le_bytes().to_vec(),
        _ => unreachable!("no test model has {dtype}"),
    }
}

fn clear_low_bits(bytes: &mut [u8], dtype: Dtype, count: u32) {
    for element in bytes.chunks_exact_mut(dtype.bitsize() / 8) {
        for (i, byte) in element.iter_mut().enumerate() {
            *byte &= 0xffu8.checked_shl(count.saturating_sub(8 * i as u32)).unwrap_or(0);
        }
    }
}

/// Names and shapes of all tensors that `config` asks for.
fn shapes(config: &Value) -> Vec<(String, Vec<usize>)> {
    let architecture = config["architectures"][0].as_str().unwrap();
    let [hidden, intermediate, vocab] =
        ["hidden_size", "intermediate_size", "vocab_size"].map(|k| size(config, k));
    let dim = head_dim(config);
    let q_len = size(config, "num_attention_heads") * dim;
    let kv_len = size(config, "num_key_value_heads") * dim;
    let attention_bias = config["attention_bias"] == true;
    let qkv_bias = attention_bias || architecture == "Qwen2ForCausalLM";
    let mlp_bias = config["mlp_bias"] == true;

    let mut all = vec![
        ("model.embed_tokens.weight".into(), vec![vocab, hidden]),
        ("model.norm.weight".into(), vec![hidden]),
    ];
    if config["tie_word_embeddings"] == false {
        all.push(("lm_head.weight".into(), vec![vocab, hidden]));
    }
    for layer in 0..size(config, "num_hidden_layers") {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        all.push((name("input_layernorm.weight"), vec![hidden]));
        all.push((name("post_attention_layernorm.weight"), vec![hidden]));
        if architecture == "Qwen3ForCausalLM" {
            all.push((name("self_attn.q_norm.weight"), vec![dim]));
            all.push((name("self_attn.k_norm.weight"), vec![dim]));
        }
        let linears = [
            ("self_attn.q_proj", q_len, hidden, qkv_bias),
            ("self_attn.k_proj", kv_len, hidden, qkv_bias),
            ("self_attn.v_proj", kv_len, hidden, qkv_bias),
            ("self_attn.o_proj", hidden, q_len, attention_bias),
            ("mlp.gate_proj", intermediate, hidden, mlp_bias),
            ("mlp.up_proj", intermediate, hidden, mlp_bias),
            ("mlp.down_proj", hidden, intermediate, mlp_bias),
        ];
        for (part, rows, cols, bias) in linears {
            all.push((name(&format!("{part}.weight")), vec![rows, cols]));
            if bias {
                all.push((name(&format!("{part}.bias")), vec![rows]));
            }
        }
    }
    all
}
