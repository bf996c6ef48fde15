//! A step of the optimizer for weights that are kept as F32, side by side: BF16 or F32.

use bytemuck::{Pod, Zeroable};

use super::updated::{Moments, Rounded, UpdateRule};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// `Vector` of `shaders/training/update_vector.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VectorParams {
    /// How many weights.
    pub count: u32,
    /// The number of the tensor.
    pub tensor: u32,
    /// Zeros.
    pub unused: [u32; 2],
}

/// The buffers of [`dispatch`].
#[derive(Debug, Clone, Copy)]
pub struct UpdateVector<'a> {
    /// What the step is given: an [`UpdateStep`](super::updated::UpdateStep).
    pub step: &'a Buffer,
    /// Gradients.
    pub grads: &'a Buffer,
    /// The weights.
    pub weights: &'a Buffer,
    /// First and second moments.
    pub moments: Option<&'a Buffer>,
    /// What went wrong.
    pub status: &'a Buffer,
}

/// The kernel.
pub fn variant(rule: UpdateRule) -> Variant {
    rule.apply(Variant::new("update_vector"))
}

/// Updates the weights. The twin is [`updated::cpu`](super::updated::cpu), weight by weight, in row 0.
pub fn dispatch(
    gpu: &Gpu,
    params: &VectorParams,
    rounded: Rounded,
    with: &UpdateVector<'_>,
) -> Result<Dispatch, GpuError> {
    let UpdateVector { step, grads, weights, moments, status } = *with;
    let moments_are = if moments.is_some() { Moments::F32 } else { Moments::No };
    let rule = UpdateRule { moments: moments_are, rounded };
    let mut buffers = vec![(0, step), (2, grads), (3, weights), (6, status)];
    buffers.extend(moments.map(|moments| (5, moments)));
    let workgroups = [params.count.div_ceil(64), 1].map(Workgroups::Fixed);
    gpu.kernel(variant(rule))?.bind(gpu, params, &buffers, workgroups)
}
