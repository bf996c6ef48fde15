//! `gate = silu(gate) · up`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// `Swiglu` of `shaders/swiglu.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SwigluParams {
    /// Elements of a token.
    pub len: u32,
    /// Distance in elements from one token to the next.
    pub stride: u32,
    /// Zeros whose value shader compilers do not know.
    pub zeros: [u32; 2],
}

/// Overwrites `gate` with the result.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    params: &SwigluParams,
    [gate, up]: [&Buffer; 2],
) -> Result<Dispatch, GpuError> {
    let workgroups = [Workgroups::Fixed(params.len.div_ceil(64)), Workgroups::PerTokens(1)];
    gpu.kernel(Variant::new("swiglu"))?.bind(gpu, params, &[(0, step), (2, gate), (3, up)], workgroups)
}

/// The twin.
pub fn cpu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}
