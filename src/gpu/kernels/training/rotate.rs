//! Rotary position embedding of queries and keys where they are.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// `Rotating` of `shaders/training/rotate.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RotateParams {
    /// Query and key heads together.
    pub heads: u32,
    /// Half the elements of a head.
    pub half_dim: u32,
    /// Elements from one token to the next.
    pub stride: u32,
    /// Tokens of a sequence.
    pub length: u32,
}

/// The kernel; `back` rotates the other way.
pub fn variant(back: bool) -> Variant {
    Variant::new("rotate").choose_if(back, Choice::Back)
}

/// Rotates the heads of `tokens` tokens.
pub fn dispatch(
    gpu: &Gpu,
    params: &RotateParams,
    tokens: usize,
    back: bool,
    [rotations, heads]: [&Buffer; 2],
) -> Result<Dispatch, GpuError> {
    let workgroups = [tokens as u32, 1].map(Workgroups::Fixed);
    gpu.kernel(variant(back))?.bind(gpu, params, &[(2, rotations), (3, heads)], workgroups)
}

/// The twin. `rotations` are a cosine and a sine for each position and half a head.
pub fn cpu(params: &RotateParams, back: bool, rotations: &[[f64; 2]], heads: &mut [f64]) {
    let half = params.half_dim as usize;
    for (token, heads) in heads.chunks_mut(params.stride as usize).enumerate() {
        let position = token % params.length as usize;
        for head in heads.chunks_mut(2 * half).take(params.heads as usize) {
            for i in 0..half {
                let [cos, sin] = rotations[position * half + i];
                let sin = if back { -sin } else { sin };
                let (first, second) = (head[i], head[i + half]);
                head[i] = first * cos - second * sin;
                head[i + half] = second * cos + first * sin;
            }
        }
    }
}
