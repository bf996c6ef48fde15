//! A step of the optimizer for a piece of a matrix.

use super::elements::workgroups;
use super::unpack::WidePiece;
use super::updated::{Rounded, UpdateRule};
use crate::gpu::{Bound, Buffer, Dispatch, Gpu, GpuError, Variant};

/// The kernel.
pub fn variant(rule: UpdateRule) -> Variant {
    rule.apply(Variant::new("update"))
}

/// The buffers of [`dispatch`].
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// What the step is given: an [`UpdateStep`](super::updated::UpdateStep).
    pub step: &'a Buffer,
    /// Gradients, row by row.
    pub grads: &'a Buffer,
    /// The weights, uncompressed.
    pub words: Bound<'a>,
    /// First and second moments, row by row.
    pub moments: Option<Bound<'a>>,
    /// What went wrong.
    pub status: &'a Buffer,
}

/// Updates the weights of a piece. The twin is [`updated::cpu`](super::updated::cpu), weight by weight.
pub fn dispatch(
    gpu: &Gpu,
    params: &WidePiece,
    rounded: Rounded,
    with: &Update<'_>,
) -> Result<Dispatch, GpuError> {
    let Update { step, grads, words, moments, status } = *with;
    let rule = UpdateRule { moments: moments.is_some(), rounded };
    let mut buffers = vec![(0, step.into()), (2, grads.into()), (3, words), (6, status.into())];
    buffers.extend(moments.map(|moments| (5, moments)));
    gpu.kernel(variant(rule))?.bind(gpu, params, &buffers, workgroups(params.vectors()))
}
