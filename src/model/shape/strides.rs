//! The positions of a token's activations in their buffers.

use crate::gpu::kernels::rope::HeadParams;
use crate::gpu::weights::WIDE_CHUNK;
use crate::model::config::model_config::ModelConfig;

/// Elements from one token to the next, for each kind of activation. All are multiples of 32, so that
/// products read whole chunks. The padding stays zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub hidden: usize,
    /// Queries, keys and values of a token. Products do not read these.
    pub qkv: usize,
    /// The results of attention.
    pub attended: usize,
    pub intermediate: usize,
}

impl Strides {
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            hidden: config.hidden.next_multiple_of(WIDE_CHUNK),
            qkv: (config.heads + 2 * config.kv_heads) * config.head_dim,
            attended: (config.heads * config.head_dim).next_multiple_of(WIDE_CHUNK),
            intermediate: config.intermediate.next_multiple_of(WIDE_CHUNK),
        }
    }
}

/// The parameters of a layer's heads, without the context.
pub(crate) fn head_params(config: &ModelConfig, layer: usize) -> HeadParams {
    let strides = Strides::new(config);
    HeadParams {
        heads: config.heads as u32,
        kv_heads: config.kv_heads as u32,
        head_dim: config.head_dim as u32,
        context: 0,
        qkv_stride: strides.qkv as u32,
        y_stride: strides.attended as u32,
        window: config.windows[layer].map_or(u32::MAX, |w| u32::try_from(w).unwrap_or(u32::MAX)),
        scale: (config.head_dim as f32).sqrt().recip(),
        epsilon: config.norm_epsilon,
        unused: [0; 3],
    }
}
