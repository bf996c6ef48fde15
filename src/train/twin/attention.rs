//! Causal attention, with all of its weights in memory.

use crate::gpu::kernels::training::attention_weights::SeenParams;
use crate::gpu::kernels::training::multiply::{self, Causal, Multiply, Operand};
use crate::gpu::kernels::training::{attention_weights, attention_weights_back};

/// The sizes of attention in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub sequences: usize,
    pub length: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub window: usize,
}

impl Attention {
    /// Elements of a token's queries, keys and values.
    pub fn qkv_len(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    fn seen(&self) -> SeenParams {
        SeenParams {
            length: self.length as u32,
            row: self.length as u32,
            product: (self.length * self.length) as u32,
            window: self.window as u32,
            scale: (self.head_dim as f32).sqrt().recip(),
            unused: [0; 3],
        }
    }

    /// Of each head the queries, of each KV head the keys or values.
    fn queries(&self) -> Operand {
        let stride = self.qkv_len();
        Operand::rows(stride).each_sequence(self.length * stride).each_head(self.head_dim, 1)
    }

    fn kv(&self, is_value: bool) -> Operand {
        let first = self.heads + if is_value { self.kv_heads } else { 0 };
        let shared = self.heads / self.kv_heads;
        self.queries().at(first * self.head_dim).each_head(self.head_dim, shared)
    }

    fn attended(&self) -> Operand {
        let stride = self.heads * self.head_dim;
        Operand::rows(stride).each_sequence(self.length * stride).each_head(self.head_dim, 1)
    }

    fn weights(&self) -> Operand {
        let all = self.length * self.length;
        Operand::rows(self.length).each_sequence(self.heads * all).each_head(all, 1)
    }

    fn each_head(&self, size: [usize; 3], causal: Causal, operands: [Operand; 3]) -> Multiply {
        let products = [self.sequences, self.heads];
        Multiply { products, causal, ..Multiply::one(size, operands) }
    }

    /// The weights of all heads, and what they gather.
    pub fn forward(&self, qkv: &[f64]) -> [Vec<f64>; 2] {
        let (length, dim) = (self.length, self.head_dim);
        let mut weights = vec![0.0; self.sequences * self.heads * length * length];
        let operands = [self.queries(), self.kv(false).transposed(), self.weights()];
        let scores = self.each_head([length, length, dim], Causal::LowerResult, operands);
        multiply::cpu(&scores, false, qkv, qkv, &mut weights);
        attention_weights::cpu(&self.seen(), &mut weights);
        let mut attended = vec![0.0; self.sequences * length * self.heads * dim];
        let operands = [self.weights(), self.kv(true), self.attended()];
        let gather = self.each_head([length, dim, length], Causal::LowerFactor, operands);
        multiply::cpu(&gather, false, &weights, qkv, &mut attended);
        [weights, attended]
    }

    /// Gradients of queries, keys and values.
    pub fn backward(&self, qkv: &[f64], weights: &[f64], attended_grad: &[f64]) -> Vec<f64> {
        let (length, dim) = (self.length, self.head_dim);
        let mut grads = vec![0.0; weights.len()];
        let operands = [self.attended(), self.kv(true).transposed(), self.weights()];
        let of_weights = self.each_head([length, length, dim], Causal::LowerResult, operands);
        multiply::cpu(&of_weights, false, attended_grad, qkv, &mut grads);
        attention_weights_back::cpu(&self.seen(), weights, &mut grads);
        let mut qkv_grad = vec![0.0; qkv.len()];
        let operands = [self.weights(), self.kv(false), self.queries()];
        let of_queries = self.each_head([length, dim, length], Causal::LowerFactor, operands);
        multiply::cpu(&of_queries, false, &grads, qkv, &mut qkv_grad);
        let of_keys = self.each_kv_head(self.queries(), false);
        multiply::cpu(&of_keys, false, &grads, qkv, &mut qkv_grad);
        let of_values = self.each_kv_head(self.attended(), true);
        multiply::cpu(&of_values, false, weights, attended_grad, &mut qkv_grad);
        qkv_grad
    }

    /// Keys' or values' gradients: of all heads that share them, from what each query has.
    fn each_kv_head(&self, by_query: Operand, is_value: bool) -> Multiply {
        let (shared, all) = (self.heads / self.kv_heads, self.length * self.length);
        let weights = self.weights().transposed().each_head(shared * all, 1).each_term(all);
        let by_query = by_query.each_head(shared * self.head_dim, 1).each_term(self.head_dim);
        let size = [self.length, self.head_dim, self.length];
        let operands = [weights, by_query, self.kv(is_value).each_head(self.head_dim, 1)];
        let products = [self.sequences, self.kv_heads];
        Multiply { products, terms: shared, causal: Causal::UpperFactor, ..Multiply::one(size, operands) }
    }
}
