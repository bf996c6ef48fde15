//! A transformer in double precision that follows the definition of each family as literally as it
//! can, from the same files as the executor and without any of its code.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::path::Path;

use bantam::tensor::Dtype;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::random_model::{head_dim, size};

pub struct Oracle {
    config: Value,
    tensors: HashMap<String, Vec<f64>>,
}

impl Oracle {
    pub fn open(folder: &Path) -> Self {
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.iter().map(|(name, t)| (name.into(), widen(t.dtype(), t.data()))).collect();
        Self { config: serde_json::from_str(&config).unwrap(), tensors }
    }

    /// Logits of each of `tokens`.
    pub fn logits(&self, tokens: &[u32]) -> Vec<f64> {
        let hidden = size(&self.config, "hidden_size");
        let embedding = &self.tensors["model.embed_tokens.weight"];
        let mut x: Vec<Vec<f64>> =
            tokens.iter().map(|&t| embedding[t as usize * hidden..][..hidden].to_vec()).collect();
        for layer in 0..size(&self.config, "num_hidden_layers") {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let normed = self.norms(&name("input_layernorm"), &x);
            add(&mut x, self.attention(layer, &normed));
            let normed = self.norms(&name("post_attention_layernorm"), &x);
            let gate = self.linear(&name("mlp.gate_proj"), &normed);
            let up = self.linear(&name("mlp.up_proj"), &normed);
            let silu = |g: f64| g / (1.0 + (-g).exp());
            let gated: Vec<Vec<f64>> = gate
                .iter()
                .zip(&up)
                .map(|(g, u)| g.iter().zip(u).map(|(&g, u)| silu(g) * u).collect())
                .collect();
            add(&mut x, self.linear(&name("mlp.down_proj"), &gated));
        }
        let normed = self.norms("model.norm", &x);
        let head = if self.config["tie_word_embeddings"] == true { "model.embed_tokens" } else { "lm_head" };
        self.linear(head, &normed).concat()
    }

    fn attention(&self, layer: usize, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let name = |part: &str| format!("model.layers.{layer}.self_attn.{part}");
        let dim = head_dim(&self.config);
        let group = size(&self.config, "num_attention_heads") / size(&self.config, "num_key_value_heads");
        let rotated = |part: &str, norm: &str| -> Vec<Vec<Vec<f64>>> {
            let heads = self.linear(&name(part), x);
            heads
                .iter()
                .enumerate()
                .map(|(p, h)| h.chunks(dim).map(|h| self.rotate(&name(norm), h, p)).collect())
                .collect()
        };
        let (q, k) = (rotated("q_proj", "q_norm"), rotated("k_proj", "k_norm"));
        let v = self.linear(&name("v_proj"), x);
        let window = self.window(layer);
        let attended = q.iter().enumerate().map(|(position, heads)| {
            let seen = (position + 1).saturating_sub(window)..position + 1;
            let head = |(head, q): (usize, &Vec<f64>)| {
                let kv_head = head / group;
                let score = |p: usize| dot(q, &k[p][kv_head]) / (dim as f64).sqrt();
                let most = seen.clone().map(score).fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = seen.clone().map(|p| (score(p) - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                let element = |i: usize| {
                    let values = seen.clone().map(|p| v[p][kv_head * dim + i]);
                    weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / total
                };
                (0..dim).map(element).collect::<Vec<f64>>()
            };
            heads.iter().enumerate().flat_map(head).collect()
        });
        self.linear(&name("o_proj"), &attended.collect::<Vec<_>>())
    }

    /// How many positions a query of `layer` sees, its own included: transformers'
    /// `sliding_window_overlay` lets key `k` be seen where `k > q - window`.
    fn window(&self, layer: usize) -> usize {
        let qwen = self.config["architectures"][0].as_str().unwrap().starts_with("Qwen");
        let used = !qwen
            || (self.config["use_sliding_window"] == true
                && layer >= size(&self.config, "max_window_layers"));
        self.config["sliding_window"].as_u64().filter(|_| used).map_or(usize::MAX, |w| w as usize)
    }

    /// A query or key head at `position`, normalised where there is such a norm.
    fn rotate(&self, norm: &str, head: &[f64], position: usize) -> Vec<f64> {
        let head = match self.tensors.contains_key(&format!("{norm}.weight")) {
            true => self.norm(norm, head),
            false => head.to_vec(),
        };
        let half = head.len() / 2;
        let angle = |i: usize| position as f64 * self.frequency(i % half, half);
        let element = |i: usize| {
            let (sin, cos) = angle(i).sin_cos();
            let other = if i < half { -head[i + half] } else { head[i - half] };
            head[i] * cos + other * sin
        };
        (0..head.len()).map(element).collect()
    }

    fn frequency(&self, i: usize, half: usize) -> f64 {
        let plain = self.config["rope_theta"].as_f64().unwrap().powf(-(i as f64) / half as f64);
        let scaling = &self.config["rope_scaling"];
        let number = |key: &str| scaling[key].as_f64().unwrap();
        match scaling["rope_type"].as_str() {
            None => plain,
            Some("linear") => plain / number("factor"),
            Some("llama3") => {
                let (low, high) = (number("low_freq_factor"), number("high_freq_factor"));
                let wavelength = TAU / plain;
                let original = number("original_max_position_embeddings");
                if wavelength < original / high {
                    plain
                } else if wavelength > original / low {
                    plain / number("factor")
                } else {
                    let smooth = (original / wavelength - low) / (high - low);
                    (1.0 - smooth) * plain / number("factor") + smooth * plain
                }
            }
            Some(other) => panic!("{other}"),
        }
    }

    fn norms(&self, name: &str, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        x.iter().map(|x| self.norm(name, x)).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let epsilon = self.config["rms_norm_eps"].as_f64().unwrap();
        let root = (dot(x, x) / x.len() as f64 + epsilon).sqrt();
        x.iter().zip(&self.tensors[&format!("{name}.weight")]).map(|(x, w)| x / root * w).collect()
    }

    fn linear(&self, name: &str, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let weights = &self.tensors[&format!("{name}.weight")];
        let bias = self.tensors.get(&format!("{name}.bias"));
        let one = |x: &Vec<f64>| {
            let rows = weights.chunks(x.len()).enumerate();
            rows.map(|(i, row)| dot(row, x) + bias.map_or(0.0, |b| b[i])).collect()
        };
        x.iter().map(one).collect()
    }
}

fn widen(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    let words = || bytes.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match dtype {
        Dtype::BF16 => words().map(|w| half::bf16::from_bits(w).to_f64()).collect(),
        Dtype::F16 => words().map(|w| half::f16::from_bits(w).to_f64()).collect(),
        Dtype::F32 => bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect(),
        _ => unreachable!("no test model has {dtype}"),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [Vec<f64>], more: Vec<Vec<f64>>) {
    x.iter_mut().zip(more).for_each(|(x, more)| x.iter_mut().zip(more).for_each(|(x, more)| *x += more));
}
