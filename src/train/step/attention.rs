//! Attention of a layer: some heads at a time, with all of their weights in memory.

use super::Recording;
use super::ops::Ops;
use crate::gpu::Buffer;
use crate::gpu::kernels::training::attention_weights::SeenParams;
use crate::gpu::kernels::training::multiply::{Causal, Multiply, Operand};
use crate::gpu::kernels::training::rotate::{self, RotateParams};
use crate::gpu::kernels::training::{attention_weights, attention_weights_back};
use crate::train::TrainError;

/// Heads whose attention is computed at once: of so many sequences from one on, so many KV heads and those that share
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heads {
    sequence: usize,
    sequences: usize,
    kv_head: usize,
    kv_heads: usize,
}

impl Recording<'_> {
    /// Rotates queries and keys, or their gradients the other way.
    pub(super) fn rotate(&self, ops: &mut Ops, qkv: &Buffer, back: bool) -> Result<(), TrainError> {
        let config = self.config;
        let params = RotateParams {
            heads: (config.heads + config.kv_heads) as u32,
            half_dim: (config.head_dim / 2) as u32,
            stride: self.qkv_len() as u32,
            length: self.sizes.length as u32,
        };
        let with = [&self.activations.rotations, qkv];
        ops.push(rotate::dispatch(self.gpu, &params, self.sizes.tokens(), back, with)?);
        Ok(())
    }

    /// What attention gathers.
    pub(super) fn attention(&self, ops: &mut Ops, window: u32) -> Result<(), TrainError> {
        let a = self.activations;
        for heads in self.heads() {
            self.weights(ops, heads, window)?;
            let operands = [self.weights_of(heads), self.kv(heads, true), self.attended_of(heads)];
            let gather = self.each_head(heads, true, Causal::LowerFactor, operands);
            self.multiply(ops, &gather, false, [&a.weights, &a.qkv, &a.attended])?;
        }
        Ok(())
    }

    /// Gradients of rotated queries, rotated keys, and values.
    pub(super) fn attention_back(&self, ops: &mut Ops, window: u32) -> Result<(), TrainError> {
        let a = self.activations;
        let all = self.heads();
        for &heads in &all {
            if all.len() > 1 {
                self.weights(ops, heads, window)?;
            }
            let operands =
                [self.attended_of(heads), self.kv(heads, true).transposed(), self.weights_of(heads)];
            let of_weights = self.each_head(heads, false, Causal::LowerResult, operands);
            let with = [&a.attended_grad, &a.qkv, &a.weights_grad];
            self.multiply(ops, &of_weights, false, with)?;
            let products = heads.sequences * heads.kv_heads * self.shared_by();
            let with = [&a.weights, &a.weights_grad];
            ops.push(attention_weights_back::dispatch(self.gpu, &self.seen(window), products, with)?);

            let operands = [self.weights_of(heads), self.kv(heads, false), self.queries(heads)];
            let of_queries = self.each_head(heads, true, Causal::LowerFactor, operands);
            let with = [&a.weights_grad, &a.qkv, &a.qkv_grad];
            self.multiply(ops, &of_queries, false, with)?;
            let of_keys = self.each_kv_head(heads, self.queries(heads), false);
            self.multiply(ops, &of_keys, false, with)?;
            let of_values = self.each_kv_head(heads, self.attended_of(heads), true);
            let with = [&a.weights, &a.attended_grad, &a.qkv_grad];
            self.multiply(ops, &of_values, false, with)?;
        }
        Ok(())
    }

    /// Attention's weights.
    fn weights(&self, ops: &mut Ops, heads: Heads, window: u32) -> Result<(), TrainError> {
        let a = self.activations;
        let operands = [self.queries(heads), self.kv(heads, false).transposed(), self.weights_of(heads)];
        let scores = self.each_head(heads, false, Causal::LowerResult, operands);
        self.multiply(ops, &scores, false, [&a.qkv, &a.qkv, &a.weights])?;
        let products = heads.sequences * heads.kv_heads * self.shared_by();
        ops.push(attention_weights::dispatch(self.gpu, &self.seen(window), products, &a.weights)?);
        Ok(())
    }

    /// All heads, as many at a time as there is memory for.
    fn heads(&self) -> Vec<Heads> {
        let [sequences, kv_heads] = self.sizes.at_once;
        let mut all = Vec::new();
        for sequence in (0..self.sizes.sequences).step_by(sequences) {
            for kv_head in (0..self.config.kv_heads).step_by(kv_heads) {
                let kv_heads = kv_heads.min(self.config.kv_heads - kv_head);
                all.push(Heads { sequence, sequences, kv_head, kv_heads });
            }
        }
        all
    }

    /// Query heads of a KV head.
    fn shared_by(&self) -> usize {
        self.config.heads / self.config.kv_heads
    }

    pub(super) fn qkv_len(&self) -> usize {
        (self.config.heads + 2 * self.config.kv_heads) * self.config.head_dim
    }

    fn seen(&self, window: u32) -> SeenParams {
        let length = self.sizes.length as u32;
        SeenParams {
            length,
            row: length,
            product: length * length,
            window,
            scale: (self.config.head_dim as f32).sqrt().recip(),
            unused: [0; 3],
        }
    }

    /// Heads that lie side by side in tokens of `stride` elements: `first` is the first of all.
    fn side_by_side(&self, heads: Heads, stride: usize, first: usize, shared_by: usize) -> Operand {
        let length = self.sizes.length;
        let dim = self.config.head_dim;
        Operand::rows(stride)
            .at(heads.sequence * length * stride + first * dim)
            .each_sequence(length * stride)
            .each_head(dim, shared_by)
    }

    fn queries(&self, heads: Heads) -> Operand {
        self.side_by_side(heads, self.qkv_len(), heads.kv_head * self.shared_by(), 1)
    }

    fn attended_of(&self, heads: Heads) -> Operand {
        let stride = self.config.heads * self.config.head_dim;
        self.side_by_side(heads, stride, heads.kv_head * self.shared_by(), 1)
    }

    fn kv(&self, heads: Heads, is_value: bool) -> Operand {
        let before = self.config.heads + if is_value { self.config.kv_heads } else { 0 };
        self.side_by_side(heads, self.qkv_len(), before + heads.kv_head, self.shared_by())
    }

    fn weights_of(&self, heads: Heads) -> Operand {
        let all = self.sizes.length * self.sizes.length;
        let of_sequence = heads.kv_heads * self.shared_by() * all;
        Operand::rows(self.sizes.length).each_sequence(of_sequence).each_head(all, 1)
    }

    /// A product for each query head: of positions with elements of a head if `gathers`, of positions with positions
    /// otherwise.
    fn each_head(&self, heads: Heads, gathers: bool, causal: Causal, operands: [Operand; 3]) -> Multiply {
        let (length, dim) = (self.sizes.length, self.config.head_dim);
        let size = if gathers { [length, dim, length] } else { [length, length, dim] };
        let products = [heads.sequences, heads.kv_heads * self.shared_by()];
        Multiply { products, causal, ..Multiply::one(size, operands) }
    }

    /// Gradients of keys or values: of all heads that share them, from what each query has.
    fn each_kv_head(&self, heads: Heads, by_query: Operand, is_value: bool) -> Multiply {
        let (shared, all) = (self.shared_by(), self.sizes.length * self.sizes.length);
        let (length, dim) = (self.sizes.length, self.config.head_dim);
        let weights = self.weights_of(heads).transposed().each_head(shared * all, 1).each_term(all);
        let by_query = by_query.each_head(shared * dim, 1).each_term(dim);
        let operands = [weights, by_query, self.kv(heads, is_value).each_head(dim, 1)];
        let products = [heads.sequences, heads.kv_heads];
        let one = Multiply::one([length, dim, length], operands);
        Multiply { products, terms: shared, causal: Causal::UpperFactor, ..one }
    }
}
