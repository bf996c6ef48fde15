//! One layer, forward and backward.

use super::attention::Attention;
use super::{Tensors, Twin, linear};
use crate::gpu::kernels::training::rotate::RotateParams;
use crate::gpu::kernels::training::{
    Columns, NormedHeads, add_bias, column_sums, gated, gated_back, head_norm, head_norm_back, rotate,
};
use crate::model::layer_name;

/// A layer, for sequences of one length.
pub(super) struct Layer<'a> {
    pub twin: &'a Twin<'a>,
    pub layer: usize,
    pub length: usize,
}

/// What a layer computed.
pub(super) struct Forward<'a> {
    layer: &'a Layer<'a>,
    attention: Attention,
    x: Vec<f64>,
    /// The norm before attention; rotated queries, rotated keys, and values.
    normed: Vec<f64>,
    /// Queries, keys and values as products made them.
    made: Vec<f64>,
    qkv: Vec<f64>,
    weights: Vec<f64>,
    attended: Vec<f64>,
    /// The residual stream after attention, its norm, and the MLP's parts.
    middle: Vec<f64>,
    middle_normed: Vec<f64>,
    gate: Vec<f64>,
    up: Vec<f64>,
}

const QKV: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
const HEAD_NORMS: [&str; 2] = ["self_attn.q_norm.weight", "self_attn.k_norm.weight"];
const NORMS: [&str; 2] = ["input_layernorm.weight", "post_attention_layernorm.weight"];

impl<'a> Layer<'a> {
    fn name(&self, part: &str) -> String {
        layer_name(self.layer, part)
    }

    fn weight(&self, part: &str) -> &[f64] {
        self.twin.weight(&self.name(part))
    }

    /// A product, with its bias if it has one.
    fn product(&self, x: &[f64], cols: usize, part: &str) -> Vec<f64> {
        let mut y = linear::forward(x, self.weight(&format!("{part}.weight")), cols);
        let bias = self.weight(&format!("{part}.bias"));
        if !bias.is_empty() {
            add_bias::cpu(&columns(y.len(), bias.len()), bias, &mut y);
        }
        y
    }

    /// Gradients of a product's input; those of its weights and its bias are noted.
    fn product_back(
        &self,
        gradients: &mut Tensors,
        part: &str,
        [x, y_grad]: [&[f64]; 2],
        cols: usize,
    ) -> Vec<f64> {
        let name = self.name(&format!("{part}.weight"));
        gradients.insert(name, linear::weight_grad(y_grad, x, cols));
        let bias = self.weight(&format!("{part}.bias"));
        if !bias.is_empty() {
            let sums = column_sums::cpu(&columns(y_grad.len(), bias.len()), y_grad, None);
            gradients.insert(self.name(&format!("{part}.bias")), sums);
        }
        linear::backward(y_grad, self.weight(&format!("{part}.weight")), cols)
    }

    fn rotate(&self, qkv: &mut [f64], back: bool) {
        let config = self.twin.config;
        let params = RotateParams {
            heads: (config.heads + config.kv_heads) as u32,
            half_dim: (config.head_dim / 2) as u32,
            stride: ((config.heads + 2 * config.kv_heads) * config.head_dim) as u32,
            length: self.length as u32,
        };
        rotate::cpu(&params, back, self.twin.rotations, qkv);
    }

    /// Query heads and key heads, where queries, keys and values are side by side.
    fn normed_heads(&self) -> [NormedHeads; 2] {
        let config = self.twin.config;
        let stride = (config.heads + 2 * config.kv_heads) * config.head_dim;
        let heads = [config.heads, config.kv_heads];
        NormedHeads::of_queries_and_keys(heads, config.head_dim, [stride; 2], config.norm_epsilon)
    }

    /// Makes gradients of heads before their norms of those after, and notes those of the norms' weights.
    fn head_norms_back(&self, gradients: &mut Tensors, made: &[f64], qkv_grad: &mut [f64]) {
        for (heads, name) in self.normed_heads().iter().zip(HEAD_NORMS) {
            let name = self.name(name);
            let weight = self.twin.weight(&name);
            let sums = head_norm_back::cpu(heads, made, weight, qkv_grad);
            let sums = column_sums::cpu(&columns(sums.len(), weight.len()), &sums, None);
            gradients.insert(name, sums);
        }
    }

    /// The layer without its last product.
    pub fn forward(&'a self, x: &[f64]) -> Forward<'a> {
        let config = self.twin.config;
        let hidden = config.hidden;
        let attention = Attention {
            sequences: x.len() / hidden / self.length,
            length: self.length,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            window: config.windows[self.layer].unwrap_or(self.length),
        };
        let normed = self.twin.norm(x, &self.name(NORMS[0]));
        let parts = QKV.map(|part| self.product(&normed, hidden, part));
        let made = side_by_side(&parts, x.len() / hidden);
        let mut qkv = made.clone();
        if config.head_norms {
            for (heads, name) in self.normed_heads().iter().zip(HEAD_NORMS) {
                head_norm::cpu(heads, &made, self.weight(name), &mut qkv);
            }
        }
        self.rotate(&mut qkv, false);
        let [weights, attended] = attention.forward(&qkv);
        let mut middle = self.product(&attended, config.heads * config.head_dim, "self_attn.o_proj");
        middle.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        let middle_normed = self.twin.norm(&middle, &self.name(NORMS[1]));
        let [gate, up] =
            ["mlp.gate_proj", "mlp.up_proj"].map(|part| self.product(&middle_normed, hidden, part));
        Forward {
            layer: self,
            attention,
            x: x.into(),
            normed,
            made,
            qkv,
            weights,
            attended,
            middle,
            middle_normed,
            gate,
            up,
        }
    }
}

impl Forward<'_> {
    /// The residual stream after the layer.
    pub fn output(&self) -> Vec<f64> {
        let intermediate = self.layer.twin.config.intermediate;
        let mut x = self.layer.product(&gated::cpu(&self.gate, &self.up), intermediate, "mlp.down_proj");
        x.iter_mut().zip(&self.middle).for_each(|(y, x)| *y += x);
        x
    }

    /// Gradients of the layer's input from those of its output.
    pub fn backward(self, x_grad: &[f64], gradients: &mut Tensors) -> Vec<f64> {
        let (layer, config) = (self.layer, self.layer.twin.config);
        let (hidden, tokens) = (config.hidden, self.x.len() / config.hidden);
        let (mut gate, mut up) = (self.gate, self.up);
        let product = gated::cpu(&gate, &up);
        let grad = layer.product_back(gradients, "mlp.down_proj", [&product, x_grad], config.intermediate);
        gated_back::cpu(&grad, &mut gate, &mut up);
        let mut normed_grad = vec![0.0; self.x.len()];
        for (part, y_grad) in [("mlp.gate_proj", &gate), ("mlp.up_proj", &up)] {
            let grad = layer.product_back(gradients, part, [&self.middle_normed, y_grad], hidden);
            normed_grad.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
        }
        let mut x_grad = x_grad.to_vec();
        layer.twin.norm_back(gradients, &layer.name(NORMS[1]), [&self.middle, &normed_grad], &mut x_grad);
        let attended_len = config.heads * config.head_dim;
        let with = [&self.attended[..], &x_grad];
        let attended_grad = layer.product_back(gradients, "self_attn.o_proj", with, attended_len);
        let mut qkv_grad = self.attention.backward(&self.qkv, &self.weights, &attended_grad);
        layer.rotate(&mut qkv_grad, true);
        if config.head_norms {
            layer.head_norms_back(gradients, &self.made, &mut qkv_grad);
        }
        let kv_len = config.kv_heads * config.head_dim;
        let mut normed_grad = vec![0.0; self.x.len()];
        let mut first = 0;
        for (part, len) in QKV.into_iter().zip([attended_len, kv_len, kv_len]) {
            let y_grad: Vec<f64> = qkv_grad
                .chunks(self.attention.qkv_len())
                .flat_map(|token| &token[first..][..len])
                .copied()
                .collect();
            first += len;
            let grad = layer.product_back(gradients, part, [&self.normed, &y_grad], hidden);
            normed_grad.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
        }
        layer.twin.norm_back(gradients, &layer.name(NORMS[0]), [&self.x, &normed_grad], &mut x_grad);
        debug_assert_eq!(x_grad.len(), tokens * hidden);
        x_grad
    }
}

/// All columns of tokens that have so many.
fn columns(elements: usize, len: usize) -> Columns {
    Columns { columns: len as u32, tokens: (elements / len) as u32, stride: len as u32, first: 0 }
}

/// The elements of each token, one part after the other.
fn side_by_side(parts: &[Vec<f64>; 3], tokens: usize) -> Vec<f64> {
    let token =
        |t: usize| parts.iter().flat_map(move |part| &part[part.len() / tokens * t..][..part.len() / tokens]);
    (0..tokens).flat_map(token).copied().collect()
}
