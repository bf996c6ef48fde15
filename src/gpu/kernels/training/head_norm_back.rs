//! Gradients through the norms of query or key heads.

use super::norm_back;
use super::normed_heads::NormedHeads;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The buffers of [`dispatch`].
#[derive(Debug, Clone, Copy)]
pub struct HeadNormBack<'a> {
    /// The norm's input.
    pub x: &'a Buffer,
    /// The norm's weight.
    pub weight: &'a Buffer,
    /// Gradients of the norm's output, which become those of its input.
    pub grads: &'a Buffer,
    /// For each token, what its heads contribute to the gradient of the weight, which is written.
    pub sums: &'a Buffer,
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("head_norm_back")
}

/// For `tokens` tokens.
pub fn dispatch(
    gpu: &Gpu,
    params: &NormedHeads,
    tokens: usize,
    with: &HeadNormBack<'_>,
) -> Result<Dispatch, GpuError> {
    let HeadNormBack { x, weight, grads, sums } = *with;
    let buffers = [(2, x), (3, weight), (4, grads), (5, sums)];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, [tokens as u32, 1].map(Workgroups::Fixed))
}

/// The twin. Gives the sums of each token.
pub fn cpu(params: &NormedHeads, x: &[f64], weight: &[f64], grads: &mut [f64]) -> Vec<f64> {
    let mut all = Vec::new();
    for (x, grads) in params.before(x).zip(params.after(grads)) {
        let mut sums = vec![0.0; weight.len()];
        for (x, grads) in x.chunks(weight.len()).zip(grads.chunks_mut(weight.len())) {
            let y_grad = grads.to_vec();
            grads.fill(0.0);
            let scale = norm_back::cpu(x, weight, f64::from(params.epsilon), &y_grad, grads);
            sums.iter_mut().zip(x).zip(y_grad).for_each(|((sum, x), y)| *sum += y * scale * x);
        }
        all.extend(sums);
    }
    all
}
