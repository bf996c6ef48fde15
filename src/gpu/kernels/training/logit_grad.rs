//! Logits to the loss's gradients.

use super::logit_stats::{NO_TARGET, VocabularyPart, WideLogitStats};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("logit_grad")
}

/// Puts gradients of `tokens` tokens in the place of logits.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    params: &VocabularyPart,
    tokens: usize,
    [targets, stats, logits]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let buffers = [(0, step), (2, targets), (3, stats), (4, logits)];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, [tokens as u32, 1].map(Workgroups::Fixed))
}

/// The twin, for one token and the whole vocabulary.
pub fn cpu(logits: &mut [f64], target: u32, stats: &WideLogitStats, loss_scale: f64) {
    for (i, logit) in logits.iter_mut().enumerate() {
        let hit = f64::from(u8::from(i == target as usize));
        let grad = ((*logit - stats.largest).exp() / stats.sum - hit) * loss_scale;
        *logit = if target == NO_TARGET { 0.0 } else { grad };
    }
}
