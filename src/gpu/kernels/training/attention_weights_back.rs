//! Gradients of attention's weights to those of its scores.

use super::attention_weights::SeenParams;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("attention_weights_back")
}

/// Makes gradients of products of queries with keys, where those of weights are.
pub fn dispatch(
    gpu: &Gpu,
    params: &SeenParams,
    products: usize,
    [weights, gradients]: [&Buffer; 2],
) -> Result<Dispatch, GpuError> {
    let buffers = [(2, weights), (3, gradients)];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, params.workgroups(products))
}

/// The twin.
pub fn cpu(params: &SeenParams, weights: &[f64], gradients: &mut [f64]) {
    let products = params.product as usize;
    for (weights, gradients) in weights.chunks(products).zip(gradients.chunks_mut(products)) {
        let rows = weights.chunks(params.row as usize).zip(gradients.chunks_mut(params.row as usize));
        for (query, (weights, gradients)) in rows.take(params.length as usize).enumerate() {
            let keys = params.keys(query);
            let sum: f64 = keys.clone().map(|key| weights[key] * gradients[key]).sum();
            for (key, gradient) in gradients.iter_mut().enumerate() {
                let of_key = f64::from(params.scale) * weights[key] * (*gradient - sum);
                *gradient = if keys.contains(&key) { of_key } else { 0.0 };
            }
        }
    }
}
