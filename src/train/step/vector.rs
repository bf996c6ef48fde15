//! Norms, and updates of vectors.

use bytemuck::Zeroable;

use super::ops::Ops;
use super::{Recording, Side};
use crate::gpu::Buffer;
use crate::gpu::kernels::norm::{self, NormParams};
use crate::gpu::kernels::training::adalomo::vector::{self as vector_change, VectorChange};
use crate::gpu::kernels::training::column_sums;
use crate::gpu::kernels::training::norm_back::{self, NormBack, NormBackParams};
use crate::gpu::kernels::training::update_vector::{self, UpdateVector, VectorParams};
use crate::gpu::kernels::training::updated::Rounded;
use crate::train::TrainError;
use crate::train::weights::{OptimizerState, TrainedVector};

impl Recording<'_> {
    /// The norm of every token.
    pub(super) fn norm(
        &self,
        ops: &mut Ops,
        weight: &TrainedVector,
        [x, y]: [&Buffer; 2],
    ) -> Result<(), TrainError> {
        let len = self.config.hidden as u32;
        let params = NormParams { len, x_stride: len, y_stride: len, epsilon: self.config.norm_epsilon };
        let step = &self.activations.tokens_step;
        let workgroups = self.sizes.tokens() as u32;
        ops.push(norm::dispatch_for(self.gpu, step, &params, workgroups, [x, &weight.weights, y])?);
        Ok(())
    }

    /// Adds to `x_grad` what the norm's input contributes to `y_grad`, and updates the norm's weight, unless
    /// adapters are trained.
    pub(super) fn norm_back(
        &self,
        ops: &mut Ops,
        weight: &TrainedVector,
        [x, y_grad, x_grad]: [&Buffer; 3],
    ) -> Result<(), TrainError> {
        let (a, len) = (self.activations, self.config.hidden as u32);
        let params = NormBackParams { len, stride: len, epsilon: self.config.norm_epsilon, unused: 0 };
        let with = NormBack { x, weight: &weight.weights, y_grad, x_grad, scales: &a.scales };
        ops.push(norm_back::dispatch(self.gpu, &params, self.sizes.tokens(), &with)?);
        if self.adapters().is_some() {
            return Ok(());
        }
        let columns = self.columns(weight.len, Side::all(y_grad, weight.len));
        ops.push(column_sums::dispatch(self.gpu, &columns, [y_grad, &a.sums], Some([x, &a.scales]))?);
        self.update_vector(ops, weight)
    }

    /// Updates a bias from the gradients of what it was added to.
    pub(super) fn bias_back(
        &self,
        ops: &mut Ops,
        bias: &TrainedVector,
        y_grad: Side<'_>,
    ) -> Result<(), TrainError> {
        let columns = self.columns(bias.len, y_grad);
        ops.push(column_sums::dispatch(self.gpu, &columns, [y_grad.buffer, &self.activations.sums], None)?);
        self.update_vector(ops, bias)
    }

    /// Updates a vector from the sums that are there.
    pub(super) fn update_vector(&self, ops: &mut Ops, vector: &TrainedVector) -> Result<(), TrainError> {
        let (step, grads) = (&self.activations.vector_step, &self.activations.sums);
        self.update_numbers(ops, vector, self.rounded, [step, grads])
    }

    /// Updates a vector, or a factor of an adapter, from its gradients.
    pub(super) fn update_numbers(
        &self,
        ops: &mut Ops,
        vector: &TrainedVector,
        rounded: Rounded,
        [step, grads]: [&Buffer; 2],
    ) -> Result<(), TrainError> {
        let (weights, status) = (&vector.weights, &self.activations.status);
        let moments = match (&vector.state, self.state) {
            (Some(means), OptimizerState::Means) => {
                let change = VectorChange { step, grads, weights, means, status };
                ops.push(vector_change::dispatch(self.gpu, vector.len, &change)?);
                None
            }
            (state, _) => state.as_ref(),
        };
        let params =
            VectorParams { count: vector.len as u32, tensor: vector.tensor, ..VectorParams::zeroed() };
        let with = UpdateVector { step, grads, weights, moments, status };
        ops.push(update_vector::dispatch(self.gpu, &params, rounded, &with)?);
        Ok(())
    }
}
