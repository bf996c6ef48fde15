//! RMS norm of every token of a batch.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// `Norm` of `shaders/norm.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct NormParams {
    /// Elements of a token.
    pub len: u32,
    /// Distance in elements from one token of the input to the next.
    pub x_stride: u32,
    /// Distance in elements from one token of the output to the next.
    pub y_stride: u32,
    /// Added to the mean square.
    pub epsilon: f32,
}

/// The kernel; `output` is for the last norm, which handles only tokens that need logits.
pub fn variant(output: bool) -> Variant {
    Variant::new("norm").choose_if(output, Choice::Output)
}

/// `y = norm(x) · weight`.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    params: &NormParams,
    output: bool,
    [x, weight, y]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let workgroups = if output { Workgroups::PerOutput } else { Workgroups::PerTokens(1) };
    let buffers = [(0, step), (2, x), (3, weight), (4, y)];
    gpu.kernel(variant(output))?.bind(gpu, params, &buffers, [workgroups, Workgroups::Fixed(1)])
}

/// The same for a number of tokens that never changes; `step` says so, too.
pub fn dispatch_for(
    gpu: &Gpu,
    step: &Buffer,
    params: &NormParams,
    tokens: u32,
    [x, weight, y]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let buffers = [(0, step), (2, x), (3, weight), (4, y)];
    gpu.kernel(variant(false))?.bind(gpu, params, &buffers, [tokens, 1].map(Workgroups::Fixed))
}

/// The twin, for one token.
pub fn cpu(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32 + epsilon).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}

/// The same in F64, for the twin of the trainer.
pub fn cpu_wide(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + epsilon).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}
