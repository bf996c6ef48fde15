//! Rotary position embedding of queries and keys, and writing the KV cache.

use bytemuck::{Pod, Zeroable};

use super::norm;
use crate::gpu::{Buffer, CacheType, Choice, Dispatch, Gpu, GpuError, KvCache, Variant, Workgroups};

/// `Heads` of `shaders/shared/heads.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct HeadParams {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; a divisor of `heads`.
    pub kv_heads: u32,
    /// Elements of a head: a multiple of four, 256 at most.
    pub head_dim: u32,
    /// Positions in the KV cache.
    pub context: u32,
    /// Distance in elements from the queries of one token, which its keys and values follow, to those of the
    /// next: a multiple of four.
    pub qkv_stride: u32,
    /// Distance in elements from one token of the attention's result to the next.
    pub y_stride: u32,
    /// How many positions back a query sees, itself included.
    pub window: u32,
    /// The factor for scores.
    pub scale: f32,
    /// Added to the mean square in a head norm.
    pub epsilon: f32,
    /// Zero.
    pub unused: [u32; 3],
}

/// The kernel's inputs and outputs.
#[derive(Debug, Clone, Copy)]
pub struct RopeBuffers<'a> {
    /// Queries, keys and values of each token. Queries are rotated in place.
    pub qkv: &'a Buffer,
    /// Pairs of cosine and sine, by position and frequency.
    pub rotations: &'a Buffer,
    /// The layer's KV cache.
    pub cache: &'a KvCache,
    /// Weights of the query and key heads' norms.
    pub head_norms: Option<[&'a Buffer; 2]>,
}

/// The kernel, with or without head norms.
pub fn variant(head_norm: bool, cache_type: CacheType) -> Variant {
    cache_type.apply(Variant::new("rope").choose_if(head_norm, Choice::HeadNorm))
}

/// A workgroup for each head of each token.
pub fn dispatch(
    gpu: &Gpu,
    step: &Buffer,
    params: &HeadParams,
    with: &RopeBuffers<'_>,
) -> Result<Dispatch, GpuError> {
    let KvCache { buffer: cache, cache_type } = with.cache;
    let mut buffers = vec![(0, step), (2, with.qkv), (3, with.rotations), (4, cache)];
    if let Some([q_norm, k_norm]) = with.head_norms {
        buffers.extend([(5, q_norm), (6, k_norm)]);
    }
    let workgroups = [Workgroups::Fixed(params.heads + 2 * params.kv_heads), Workgroups::PerTokens(1)];
    gpu.kernel(variant(with.head_norms.is_some(), *cache_type))?.bind(gpu, params, &buffers, workgroups)
}

/// The twin, for one head at one position; `rotations` are that position's.
pub fn cpu(head: &[f32], rotations: &[[f32; 2]], head_norm: Option<(&[f32], f32)>) -> Vec<f32> {
    let head = match head_norm {
        Some((weight, epsilon)) => norm::cpu(head, weight, epsilon),
        None => head.to_vec(),
    };
    let (first, second) = head.split_at(head.len() / 2);
    let pairs = || first.iter().zip(second).zip(rotations);
    let rotated_first = pairs().map(|((a, b), [cos, sin])| a * cos - b * sin);
    let rotated_second = pairs().map(|((a, b), [cos, sin])| b * cos + a * sin);
    rotated_first.chain(rotated_second).collect()
}
