//! Causal attention over the KV cache.

use super::rope::HeadParams;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// A workgroup for each query head of each token.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    params: &HeadParams,
    [q, cache, y]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let workgroups = [Workgroups::Fixed(params.heads), Workgroups::PerTokens(1)];
    gpu.kernel(Variant::new("attention"))?.bind(
        gpu,
        params,
        &[(0, step), (2, q), (3, cache), (4, y)],
        workgroups,
    )
}

/// The twin, for one query head: `keys` and `values` are those it sees, in order.
pub fn cpu(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f32) -> Vec<f32> {
    let scores: Vec<f32> =
        keys.iter().map(|key| scale * query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>()).collect();
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
    let total: f32 = weights.iter().sum();
    let element = |i: usize| weights.iter().zip(values).map(|(w, v)| w * v[i]).sum::<f32>() / total;
    (0..query.len()).map(element).collect()
}
