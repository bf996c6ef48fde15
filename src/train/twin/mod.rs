//! The trainer's twin: loss and gradients of a model in F64 on the CPU, made of the twins of its kernels. It defines
//! what the trainer computes, for tests, and is checked against differences.

mod attention;
mod layer;
mod linear;

use std::collections::BTreeMap;

use super::batch::Batch;
use crate::gpu::kernels::norm;
use crate::gpu::kernels::training::embed_rows::TableRows;
use crate::gpu::kernels::training::{
    Columns, column_sums, embed_grad, embed_rows, logit_grad, logit_stats, norm_back,
};
use crate::model::{EMBEDDING, LAST_NORM, ModelConfig, OUTPUT};

/// Tensors by name, row-major.
pub type Tensors = BTreeMap<String, Vec<f64>>;

/// A model, and gradients of its tensors.
#[derive(Debug)]
pub struct Twin<'a> {
    /// Its configuration.
    pub config: &'a ModelConfig,
    /// Its weights.
    pub weights: &'a Tensors,
    /// Cosines and sines of rotations: for each position, half a head's.
    pub rotations: &'a [[f64; 2]],
}

/// What a batch gives.
#[derive(Debug, Clone, PartialEq)]
pub struct LossAndGradients {
    /// The mean loss of the tokens that count.
    pub loss: f64,
    /// Its gradient for every tensor.
    pub gradients: Tensors,
}

/// Cosines and sines of rotations for sequences of this length.
pub fn rotations(config: &ModelConfig, length: usize) -> Vec<[f64; 2]> {
    let rotations = crate::model::rotations(config, 0..length);
    rotations.into_iter().map(|pair| pair.map(f64::from)).collect()
}

impl Twin<'_> {
    /// The mean loss of the tokens of `batch` that count, and its gradients.
    pub fn backward(&self, batch: &Batch) -> LossAndGradients {
        let (hidden, vocab) = (self.config.hidden, self.config.vocab);
        let rows = TableRows { first: 0, count: vocab as u32, columns: hidden as u32, stride: hidden as u32 };
        let mut inputs = vec![embed_rows::cpu(&rows, &batch.ids, self.weight(EMBEDDING))];
        for layer in 0..self.config.layers {
            let after = self.layer(layer, batch.length).forward(&inputs[layer]).output();
            inputs.push(after);
        }
        let x = inputs.pop().unwrap_or_default();
        let normed = self.norm(&x, LAST_NORM);
        let output = if self.config.tied { EMBEDDING } else { OUTPUT };
        let mut logits = linear::forward(&normed, self.weight(output), hidden);
        let scale = 1.0 / batch.counted() as f64;
        let mut loss = 0.0;
        for (logits, &target) in logits.chunks_mut(vocab).zip(&batch.targets) {
            let stats = logit_stats::cpu(logits, target);
            if target != logit_stats::NO_TARGET {
                loss += stats.loss() * scale;
            }
            logit_grad::cpu(logits, target, &stats, scale);
        }
        let mut gradients = Tensors::new();
        gradients.insert(output.into(), linear::weight_grad(&logits, &normed, hidden));
        let normed_grad = linear::backward(&logits, self.weight(output), hidden);
        let mut x_grad = vec![0.0; x.len()];
        self.norm_back(&mut gradients, LAST_NORM, [&x, &normed_grad], &mut x_grad);
        for layer in (0..self.config.layers).rev() {
            let layer = self.layer(layer, batch.length);
            x_grad = layer.forward(&inputs[layer.layer]).backward(&x_grad, &mut gradients);
        }
        let embedding = gradients.entry(EMBEDDING.into()).or_insert_with(|| vec![0.0; vocab * hidden]);
        embed_grad::cpu(&rows, &batch.ids, &x_grad, embedding);
        LossAndGradients { loss, gradients }
    }

    fn layer(&self, layer: usize, length: usize) -> layer::Layer<'_> {
        layer::Layer { twin: self, layer, length }
    }

    /// The tensor of this name; empty if there is none.
    fn weight(&self, name: &str) -> &[f64] {
        self.weights.get(name).map_or(&[], Vec::as_slice)
    }

    /// Each token's norm.
    fn norm(&self, x: &[f64], name: &str) -> Vec<f64> {
        let epsilon = f64::from(self.config.norm_epsilon);
        x.chunks(self.config.hidden).flat_map(|x| norm::cpu_wide(x, self.weight(name), epsilon)).collect()
    }

    /// Adds what a norm's input contributes, and notes the gradient of its weight.
    fn norm_back(&self, gradients: &mut Tensors, name: &str, [x, y_grad]: [&[f64]; 2], x_grad: &mut [f64]) {
        let hidden = self.config.hidden;
        let epsilon = f64::from(self.config.norm_epsilon);
        let tokens = x.chunks(hidden).zip(y_grad.chunks(hidden)).zip(x_grad.chunks_mut(hidden));
        let scales: Vec<f64> = tokens
            .map(|((x, y_grad), x_grad)| norm_back::cpu(x, self.weight(name), epsilon, y_grad, x_grad))
            .collect();
        let columns =
            Columns { columns: hidden as u32, tokens: scales.len() as u32, stride: hidden as u32, first: 0 };
        gradients.insert(name.into(), column_sums::cpu(&columns, y_grad, Some([x, &scales])));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::gpu::kernels::training::logit_stats::NO_TARGET;

    /// Numbers from -1 to 1.
    fn random(i: usize) -> f64 {
        let mut x = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn config(architecture: &str, more: &str) -> ModelConfig {
        let json = format!(
            r#"{{"architectures": ["{architecture}"], "hidden_size": 10, "intermediate_size": 7, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 4, "num_hidden_layers": 2, "vocab_size": 9 {more}}}"#
        );
        ModelConfig::parse(&json, Path::new("config.json")).unwrap()
    }

    fn weights(config: &ModelConfig) -> Tensors {
        let shapes = crate::model::tensor_shapes(config);
        let mut next = 0;
        let mut tensor = |(name, shape): (String, Vec<usize>)| {
            let is_norm = name.contains("norm");
            let values = (0..shape.iter().product()).map(|_| {
                next += 1;
                0.5 * random(next) + if is_norm { 1.0 } else { 0.0 }
            });
            let values = values.collect();
            (name, values)
        };
        shapes.into_iter().map(&mut tensor).collect()
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (llama, qwen3) = ("LlamaForCausalLM", "Qwen3ForCausalLM");
        for (architecture, more) in [
            (llama, r#", "tie_word_embeddings": true"#),
            (llama, r#", "attention_bias": true, "mlp_bias": true"#),
            ("MistralForCausalLM", r#", "sliding_window": 3"#),
            (qwen3, ""),
        ] {
            let config = config(architecture, more);
            let weights = weights(&config);
            let length = 6;
            let rotations = rotations(&config, length);
            let mut batch = Batch { length, ids: vec![], targets: vec![] };
            for i in 0..2 * length {
                batch.ids.push((5 * i as u32 + 1) % 9);
                batch.targets.push(if i % 5 == 3 { NO_TARGET } else { (3 * i as u32 + 2) % 9 });
            }
            let twin =
                |weights: &Tensors| Twin { config: &config, weights, rotations: &rotations }.backward(&batch);
            let LossAndGradients { loss, gradients } = twin(&weights);
            assert!(loss > 1.0 && gradients.keys().eq(weights.keys()), "{loss}");
            for (name, gradient) in &gradients {
                let largest = gradient.iter().fold(0f64, |most, g| most.max(g.abs()));
                assert!(largest > 1e-6, "{name}");
                for i in (0..gradient.len()).step_by(gradient.len().div_ceil(12)) {
                    let mut changed = weights.clone();
                    let step = 1e-4;
                    // Two differences, whose error is of the fourth order together.
                    let mut difference = |step: f64| {
                        let mut at = |by: f64| {
                            changed.get_mut(name).unwrap()[i] = weights[name][i] + by;
                            twin(&changed).loss
                        };
                        (at(step) - at(-step)) / (2.0 * step)
                    };
                    let wanted = (4.0 * difference(step) - difference(2.0 * step)) / 3.0;
                    let off = (gradient[i] - wanted).abs() / largest;
                    assert!(off < 1e-6, "{architecture} {more} {name} {i}: {} {wanted}", gradient[i]);
                }
            }
        }
    }
}
