//! Buffers for the activations of a batch.

use crate::gpu::{Buffer, Gpu, GpuError};
use crate::model::config::model_config::ModelConfig;
use crate::model::shape::strides::Strides;

/// What products read of them, they may read as a uniform.
pub(crate) const ACTIVATIONS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::UNIFORM);

/// The activations of a batch, shared by all layers.
#[derive(Debug)]
pub(crate) struct Activations {
    pub strides: Strides,
    /// The residual stream. Rows of an embedding that is on the host are copied there.
    pub x: Buffer,
    /// What the norms give.
    pub normed: Buffer,
    pub qkv: Buffer,
    pub attended: Buffer,
    pub gate: Buffer,
    /// Nothing where all layers have gate and up joined.
    pub up: Buffer,
}

impl Activations {
    /// For so many tokens, with room for results of `up` where that `has_up`.
    pub fn new(gpu: &Gpu, config: &ModelConfig, tokens: usize, has_up: bool) -> Result<Self, GpuError> {
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
        })
    }
}
