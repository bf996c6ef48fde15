//! Norms of query and key heads.

use super::ops::Ops;
use super::{Recording, Side};
use crate::gpu::Buffer;
use crate::gpu::kernels::training::head_norm_back::{self, HeadNormBack};
use crate::gpu::kernels::training::{NormedHeads, column_sums, head_norm};
use crate::train::TrainError;
use crate::train::weights::TrainedVector;

impl Recording<'_> {
    /// The norms of all query heads, and of all key heads.
    pub(super) fn head_norms(&self, ops: &mut Ops, weights: &[TrainedVector; 2]) -> Result<(), TrainError> {
        let (before, _) = self.of_head_norms()?;
        for (weight, params) in weights.iter().zip(self.normed_heads()) {
            let with = [before, &weight.weights, &self.activations.qkv];
            ops.push(head_norm::dispatch(self.gpu, &params, self.sizes.tokens(), with)?);
        }
        Ok(())
    }

    /// Makes gradients of the norms' inputs of those of their outputs, and updates the norms' weights, unless adapters
    /// are trained.
    pub(super) fn head_norms_back(
        &self,
        ops: &mut Ops,
        weights: &[TrainedVector; 2],
    ) -> Result<(), TrainError> {
        let a = self.activations;
        let (x, sums) = self.of_head_norms()?;
        for (weight, params) in weights.iter().zip(self.normed_heads()) {
            let with = HeadNormBack { x, weight: &weight.weights, grads: &a.qkv_grad, sums };
            ops.push(head_norm_back::dispatch(self.gpu, &params, self.sizes.tokens(), &with)?);
            if self.adapters().is_none() {
                let columns = self.columns(weight.len, Side::all(sums, weight.len));
                ops.push(column_sums::dispatch(self.gpu, &columns, [sums, &a.sums], None)?);
                self.update_vector(ops, weight)?;
            }
        }
        Ok(())
    }

    /// Query heads and key heads.
    fn normed_heads(&self) -> [NormedHeads; 2] {
        let config = self.config;
        let strides = [(config.heads + config.kv_heads) * config.head_dim, self.qkv_len()];
        let heads = [config.heads, config.kv_heads];
        NormedHeads::of_queries_and_keys(heads, config.head_dim, strides, config.norm_epsilon)
    }

    /// What is there before the norms, and room for what tokens contribute to gradients of their weights.
    fn of_head_norms(&self) -> Result<(&Buffer, &Buffer), TrainError> {
        let a = self.activations;
        let both = a.before_norms.as_ref().zip(a.head_sums.as_ref());
        both.ok_or(TrainError::Internal("there is no room for what norms of heads read"))
    }
}
