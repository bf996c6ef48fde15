//! Gradients through an RMS norm.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// `Norm` of `shaders/training/norm_back.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct NormBackParams {
    /// Elements of a token.
    pub len: u32,
    /// Elements from one token to the next.
    pub stride: u32,
    /// Added to the mean square.
    pub epsilon: f32,
    /// Zero.
    pub unused: u32,
}

/// The buffers of [`dispatch`].
#[derive(Debug, Clone, Copy)]
pub struct NormBack<'a> {
    /// The norm's input.
    pub x: &'a Buffer,
    /// The norm's weight.
    pub weight: &'a Buffer,
    /// Gradients of the norm's output.
    pub y_grad: &'a Buffer,
    /// Gradients of its input, which are added to.
    pub x_grad: &'a Buffer,
    /// What each token was multiplied by, which is written.
    pub scales: &'a Buffer,
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("norm_back")
}

/// For `tokens` tokens.
pub fn dispatch(
    gpu: &Gpu,
    params: &NormBackParams,
    tokens: usize,
    with: &NormBack<'_>,
) -> Result<Dispatch, GpuError> {
    let NormBack { x, weight, y_grad, x_grad, scales } = *with;
    let buffers = [(2, x), (3, weight), (4, y_grad), (5, x_grad), (6, scales)];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, [tokens as u32, 1].map(Workgroups::Fixed))
}

/// The twin, for one token. Gives what the token was multiplied by.
pub fn cpu(x: &[f64], weight: &[f64], epsilon: f64, y_grad: &[f64], x_grad: &mut [f64]) -> f64 {
    let count = x.len() as f64;
    let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / count + epsilon).sqrt();
    let products: f64 = x.iter().zip(weight).zip(y_grad).map(|((x, w), y)| x * w * y).sum();
    let drift = products / count * scale.powi(3);
    for (i, x_grad) in x_grad.iter_mut().enumerate() {
        *x_grad += scale * weight[i] * y_grad[i] - drift * x[i];
    }
    scale
}
