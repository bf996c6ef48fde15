//! The longest context of a session on a device.

use crate::gpu::kernels::attention;
use crate::gpu::{CacheType, Gpu, KvCache};
use crate::model::config::model_config::ModelConfig;
use crate::model::context_limit::ContextLimit;
use crate::model::error::ModelError;
use crate::model::shape::strides::head_params;
use crate::model::weights::rotations::Rotations;

/// More positions than any model is made for. Within this limit, no index overflows.
const MAX_CONTEXT: u32 = 1 << 24;

/// Maximum positions of a session of a model on `gpu`, and what limits them.
pub(crate) fn most_context(gpu: &Gpu, config: &ModelConfig, cache_type: CacheType) -> (usize, ContextLimit) {
    let cache = KvCache::position_bytes(cache_type, config.kv_heads, config.head_dim);
    let (each, most) = (cache.max(Rotations::position_bytes(config)).max(1), gpu.max_binding());
    let bound = usize::try_from(most / each).unwrap_or(usize::MAX);
    let of_layer =
        |layer| attention::most_context(gpu, &head_params(config, layer), cache_type, MAX_CONTEXT) as usize;
    let rounds = (0..config.layers).map(of_layer).min().unwrap_or(usize::MAX);
    let limits = [
        (MAX_CONTEXT as usize, ContextLimit::Positions),
        (bound, ContextLimit::Binding { each, most }),
        (rounds, ContextLimit::Rounds),
    ];
    limits.into_iter().min_by_key(|&(positions, _)| positions).unwrap_or(limits[0])
}

/// Returns an error if a session cannot have `context` positions.
pub(crate) fn check(
    gpu: &Gpu,
    config: &ModelConfig,
    context: usize,
    cache_type: CacheType,
) -> Result<(), ModelError> {
    match most_context(gpu, config, cache_type) {
        (most, limit) if context > most => Err(ModelError::ContextTooLong { context, most, limit }),
        _ => Ok(()),
    }
}
