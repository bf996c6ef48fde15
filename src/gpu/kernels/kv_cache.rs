//! The memory for keys and values.

use crate::gpu::{Buffer, Choice, Gpu, GpuError, Variant};

/// KV-cache element type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheType {
    /// F32, as keys and values are computed.
    #[default]
    F32,
    /// Rounded to F16: half the memory. Values out of range become the largest F16.
    F16,
}

impl CacheType {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// `variant` of a kernel that uses such a cache.
    pub(in crate::gpu) fn apply(self, variant: Variant) -> Variant {
        variant.choose_if(self == Self::F16, Choice::F16Cache)
    }
}

/// The keys and values of one layer.
#[derive(Debug)]
pub struct KvCache {
    /// Keys, then values, each `[kv_heads, context, head_dim]`.
    pub buffer: Buffer,
    /// The type of its elements.
    pub cache_type: CacheType,
}

impl KvCache {
    /// Bytes of one position, whose heads have `head_dim` numbers.
    pub fn position_bytes(cache_type: CacheType, kv_heads: usize, head_dim: usize) -> u64 {
        [2, kv_heads, head_dim, cache_type.bytes()]
            .iter()
            .fold(1, |product: u64, &factor| product.saturating_mul(factor as u64))
    }

    /// A cache for `len` numbers, keys and values together.
    pub fn new(gpu: &Gpu, cache_type: CacheType, len: usize) -> Result<Self, GpuError> {
        let bytes = (len * cache_type.bytes()) as u64;
        let buffer = gpu.buffer("kv cache", bytes, wgpu::BufferUsages::STORAGE)?;
        Ok(Self { buffer, cache_type })
    }
}
