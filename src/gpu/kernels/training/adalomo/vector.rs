//! Makes changes of a vector's gradients.

use super::{inverse_root, kept, limited};
use crate::gpu::kernels::training::elements::Length;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("adalomo_vector")
}

/// The buffers of [`dispatch`].
#[derive(Debug, Clone, Copy)]
pub struct VectorChange<'a> {
    /// What the step is given: an [`UpdateStep`](crate::gpu::kernels::training::updated::UpdateStep).
    pub step: &'a Buffer,
    /// Gradients, which become changes.
    pub grads: &'a Buffer,
    /// Weights, as F32.
    pub weights: &'a Buffer,
    /// What is kept: a mean of squares for each element.
    pub means: &'a Buffer,
    /// What went wrong.
    pub status: &'a Buffer,
}

/// For so many elements.
pub fn dispatch(gpu: &Gpu, elements: usize, with: &VectorChange<'_>) -> Result<Dispatch, GpuError> {
    let VectorChange { step, grads, weights, means, status } = *with;
    gpu.check_rounds("adalomo_vector", elements.div_ceil(64) as u64)?;
    let buffers = [(0, step), (2, grads), (3, weights), (4, means), (5, status)];
    gpu.kernel(variant())?.bind(gpu, &Length::of(elements), &buffers, [Workgroups::Fixed(1); 2])
}

/// The twin.
pub fn cpu(beta2: f64, grads: &mut [f64], weights: &[f64], means: &mut [f64]) {
    for (grad, mean) in grads.iter_mut().zip(means) {
        *mean = kept(beta2, *mean, *grad * *grad);
        *grad *= inverse_root(*mean);
    }
    let squares = |values: &[f64]| values.iter().map(|value| value * value).sum();
    let by = limited(squares(grads), squares(weights), grads.len());
    grads.iter_mut().for_each(|grad| *grad *= by);
}
