//! Buffers for the activations of a batch.

use crate::gpu::{Buffer, Gpu, GpuError};
use crate::model::config::model_config::ModelConfig;
use crate::model::shape::strides::Strides;

/// Usages of activations that products read: some kernels read them as a uniform.
pub(crate) const ACTIVATIONS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::UNIFORM);

/// The activations of a batch, shared by all layers.
#[derive(Debug)]
pub(crate) struct Activations {
    pub strides: Strides,
    /// The residual stream. If the embedding is on the host, its rows are copied here.
    pub x: Buffer,
    /// The results of the norms.
    pub normed: Buffer,
    pub qkv: Buffer,
    pub attended: Buffer,
    pub gate: Buffer,
    /// Empty if gate and up are joined in all layers.
    pub up: Buffer,
    /// Products with an adapter's A, and their stride. Empty without an adapter.
    pub adapter: Buffer,
    pub adapter_stride: usize,
}

impl Activations {
    /// Buffers for `tokens` tokens. If `has_up`, results of `up` get a buffer too.
    pub fn new(
        gpu: &Gpu,
        config: &ModelConfig,
        tokens: usize,
        has_up: bool,
        adapter_stride: usize,
    ) -> Result<Self, GpuError> {
        let strides = Strides::new(config);
        let buffer = |label, stride: usize| gpu.buffer(label, (tokens * stride * 4) as u64, ACTIVATIONS);
        let x_usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            strides,
            x: gpu.buffer("residual", (tokens * strides.hidden * 4) as u64, x_usage)?,
            normed: buffer("normed", strides.hidden)?,
            qkv: buffer("queries, keys, values", strides.qkv)?,
            attended: buffer("attended", strides.attended)?,
            gate: buffer("gate", strides.intermediate)?,
            up: buffer("up", if has_up { strides.intermediate } else { 0 })?,
            adapter: buffer("adapter", adapter_stride)?,
            adapter_stride,
        })
    }
}
