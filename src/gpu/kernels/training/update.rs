//! A step of the optimizer for a piece of a matrix.

use super::elements::workgroups;
use super::unpack::WidePiece;
use super::updated::{Moments, Rounded, UpdateRule};
use crate::gpu::{Bound, Buffer, Dispatch, Gpu, GpuError, Variant};

/// The kernel.
pub fn variant(rule: UpdateRule) -> Variant {
    rule.apply(Variant::new("update"))
}

/// What the optimizer keeps for the weights of a piece.
#[derive(Debug, Clone, Copy)]
pub enum MomentBuffers<'a> {
    /// Nothing.
    No,
    /// First and second moments, row by row.
    F32(&'a Buffer),
    /// First moments, and roots of second moments, as weights lie.
    Bf16([Bound<'a>; 2]),
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
    /// What the optimizer keeps.
    pub moments: MomentBuffers<'a>,
    /// What went wrong.
    pub status: &'a Buffer,
}

/// Updates the weights of a piece. The twin is [`updated::cpu`](super::updated::cpu), weight by weight; BF16 moments are
/// rounded after it by [`updated::rounded_moments`](super::updated::rounded_moments).
pub fn dispatch(
    gpu: &Gpu,
    params: &WidePiece,
    rounded: Rounded,
    with: &Update<'_>,
) -> Result<Dispatch, GpuError> {
    let Update { step, grads, words, moments, status } = *with;
    let mut buffers = vec![(0, step.into()), (2, grads.into()), (3, words), (6, status.into())];
    let moments = match moments {
        MomentBuffers::No => Moments::No,
        MomentBuffers::F32(moments) => {
            buffers.push((5, moments.into()));
            Moments::F32
        }
        MomentBuffers::Bf16([first, second]) => {
            buffers.extend([(5, first), (7, second)]);
            Moments::Bf16
        }
    };
    let rule = UpdateRule { moments, rounded };
    gpu.kernel(variant(rule))?.bind(gpu, params, &buffers, workgroups(params.vectors()))
}
