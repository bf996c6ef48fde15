//! One transformer layer: its weights, and its dispatches in a session.

use super::config::ModelConfig;
use super::error::ModelError;
use super::loader::{Linear, Loader};
use crate::gpu::format::WIDE_CHUNK;
use crate::gpu::kernels::matvec::Product;
use crate::gpu::kernels::norm::NormParams;
use crate::gpu::kernels::rope::{HeadParams, RopeBuffers};
use crate::gpu::kernels::swiglu::SwigluParams;
use crate::gpu::kernels::{attention, matmul, matvec, norm, rope, swiglu};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, KvCache};

/// The name of a part of a layer.
pub(super) fn layer_name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// A product of a layer, as its weights are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProductShape {
    /// What its tensors' names begin with, in the layer.
    pub name: &'static str,
    pub rows: usize,
    pub cols: usize,
    pub bias: bool,
}

/// The products of every layer: queries, keys, values, attention's output, gate, up, down.
pub(super) fn products(config: &ModelConfig) -> [ProductShape; 7] {
    let (hidden, intermediate) = (config.hidden, config.intermediate);
    let (q_len, kv_len) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let product = |name, rows, cols, bias| ProductShape { name, rows, cols, bias };
    [
        product("self_attn.q_proj", q_len, hidden, config.qkv_bias),
        product("self_attn.k_proj", kv_len, hidden, config.qkv_bias),
        product("self_attn.v_proj", kv_len, hidden, config.qkv_bias),
        product("self_attn.o_proj", hidden, q_len, config.o_bias),
        product("mlp.gate_proj", intermediate, hidden, config.mlp_bias),
        product("mlp.up_proj", intermediate, hidden, config.mlp_bias),
        product("mlp.down_proj", hidden, intermediate, config.mlp_bias),
    ]
}

/// Names and lengths of the norms before attention and before the MLP.
pub(super) fn norms(config: &ModelConfig) -> [(&'static str, usize); 2] {
    [("input_layernorm.weight", config.hidden), ("post_attention_layernorm.weight", config.hidden)]
}

/// Names and lengths of the norms of query and key heads, where a model has them.
pub(super) fn head_norms(config: &ModelConfig) -> Option<[(&'static str, usize); 2]> {
    let norm = |name| (name, config.head_dim);
    config.head_norms.then(|| [norm("self_attn.q_norm.weight"), norm("self_attn.k_norm.weight")])
}

/// A layer's weights on the device.
#[derive(Debug)]
pub(super) struct LayerWeights {
    input_norm: Buffer,
    q: Linear,
    k: Linear,
    v: Linear,
    head_norms: Option<[Buffer; 2]>,
    o: Linear,
    mlp_norm: Buffer,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl LayerWeights {
    pub async fn load(
        loader: &mut Loader<'_>,
        config: &ModelConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| layer_name(layer, part);
        let [q, k, v, o, gate, up, down] = products(config);
        let vector = |loader: &mut Loader<'_>, (part, len)| loader.vector(&name(part), len);
        let [input_norm, mlp_norm] = norms(config);
        Ok(Self {
            input_norm: vector(loader, input_norm)?,
            q: loader.linear(&name(q.name), &q).await?,
            k: loader.linear(&name(k.name), &k).await?,
            v: loader.linear(&name(v.name), &v).await?,
            head_norms: match head_norms(config) {
                Some([q, k]) => Some([vector(loader, q)?, vector(loader, k)?]),
                None => None,
            },
            o: loader.linear(&name(o.name), &o).await?,
            mlp_norm: vector(loader, mlp_norm)?,
            gate: loader.linear(&name(gate.name), &gate).await?,
            up: loader.linear(&name(up.name), &up).await?,
            down: loader.linear(&name(down.name), &down).await?,
        })
    }

    pub fn bytes(&self) -> u64 {
        let linears = [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down];
        let vectors = [&self.input_norm, &self.mlp_norm].into_iter().chain(self.head_norms.iter().flatten());
        linears.iter().map(|l| l.bytes()).sum::<u64>() + vectors.map(Buffer::size).sum::<u64>()
    }
}

/// Elements from one token to the next of each kind of activation: multiples of 32, so that the
/// products read whole chunks. The padding stays zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strides {
    pub hidden: usize,
    pub q: usize,
    pub kv: usize,
    pub intermediate: usize,
}

impl Strides {
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            hidden: config.hidden.next_multiple_of(WIDE_CHUNK),
            q: (config.heads * config.head_dim).next_multiple_of(WIDE_CHUNK),
            kv: (config.kv_heads * config.head_dim).next_multiple_of(WIDE_CHUNK),
            intermediate: config.intermediate.next_multiple_of(WIDE_CHUNK),
        }
    }
}

/// What products read of them, they may read as a uniform.
pub(super) const ACTIVATIONS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::UNIFORM);

/// The activations of a batch, shared by all layers.
#[derive(Debug)]
pub(super) struct Activations {
    pub strides: Strides,
    /// The residual stream. Rows of an embedding that is on the host are copied there.
    pub x: Buffer,
    /// What the norms give.
    pub normed: Buffer,
    pub q: Buffer,
    pub k: Buffer,
    pub v: Buffer,
    pub attended: Buffer,
    pub gate: Buffer,
    pub up: Buffer,
}

impl Activations {
    pub fn new(gpu: &Gpu, config: &ModelConfig, tokens: usize) -> Result<Self, GpuError> {
        let strides = Strides::new(config);
        let buffer = |label, stride: usize| gpu.buffer(label, (tokens * stride * 4) as u64, ACTIVATIONS);
        let x_usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        Ok(Self {
            strides,
            x: gpu.buffer("residual", (tokens * strides.hidden * 4) as u64, x_usage)?,
            normed: buffer("normed", strides.hidden)?,
            q: buffer("queries", strides.q)?,
            k: buffer("keys", strides.kv)?,
            v: buffer("values", strides.kv)?,
            attended: buffer("attended", strides.q)?,
            gate: buffer("gate", strides.intermediate)?,
            up: buffer("up", strides.intermediate)?,
        })
    }
}

/// Which kernel multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Products {
    /// One token: `matvec`.
    Single,
    /// A batch: `matmul`.
    Batch,
}

impl Products {
    /// The dispatches of one product.
    pub fn dispatches(
        self,
        gpu: &Gpu,
        step: &Buffer,
        product: &Product<'_>,
    ) -> Result<Vec<Dispatch>, GpuError> {
        match self {
            Self::Single => matvec::dispatches(gpu, product),
            Self::Batch => matmul::dispatches(gpu, step, product),
        }
    }
}

/// What a layer is recorded with.
pub(super) struct LayerContext<'a> {
    pub gpu: &'a Gpu,
    pub config: &'a ModelConfig,
    pub step: &'a Buffer,
    pub activations: &'a Activations,
    pub rotations: &'a Buffer,
    /// Positions in the KV cache.
    pub context: usize,
}

impl LayerContext<'_> {
    /// All dispatches of one layer, in order.
    pub fn dispatches(
        &self,
        layer: usize,
        weights: &LayerWeights,
        cache: &KvCache,
        products: Products,
    ) -> Result<Vec<Dispatch>, GpuError> {
        let (a, s) = (self.activations, self.activations.strides);
        let mut all = Vec::new();
        let multiply = |all: &mut Vec<Dispatch>, linear: &Linear, x, x_stride, y, y_stride, accumulate| {
            let (weights, bias) = (&linear.weights, linear.bias.as_ref());
            let product = Product { weights, x, x_stride, y, y_stride, bias, accumulate };
            all.extend(products.dispatches(self.gpu, self.step, &product)?);
            Ok::<_, GpuError>(())
        };

        all.push(self.norm(&weights.input_norm)?);
        multiply(&mut all, &weights.q, &a.normed, s.hidden, &a.q, s.q, false)?;
        multiply(&mut all, &weights.k, &a.normed, s.hidden, &a.k, s.kv, false)?;
        multiply(&mut all, &weights.v, &a.normed, s.hidden, &a.v, s.kv, false)?;
        let heads = self.head_params(layer);
        let norms = weights.head_norms.as_ref().map(|[q, k]| [q, k]);
        let with =
            RopeBuffers { q: &a.q, k: &a.k, v: &a.v, rotations: self.rotations, cache, head_norms: norms };
        all.push(rope::dispatch(self.gpu, self.step, &heads, &with)?);
        let division = attention::Division::of(self.gpu, cache.cache_type);
        all.push(attention::dispatch(self.gpu, self.step, &heads, division, cache, [&a.q, &a.attended])?);
        multiply(&mut all, &weights.o, &a.attended, s.q, &a.x, s.hidden, true)?;

        all.push(self.norm(&weights.mlp_norm)?);
        multiply(&mut all, &weights.gate, &a.normed, s.hidden, &a.gate, s.intermediate, false)?;
        multiply(&mut all, &weights.up, &a.normed, s.hidden, &a.up, s.intermediate, false)?;
        let params = SwigluParams {
            len: self.config.intermediate as u32,
            stride: s.intermediate as u32,
            unused: [0; 2],
        };
        all.push(swiglu::dispatch(self.gpu, self.step, &params, [&a.gate, &a.up])?);
        multiply(&mut all, &weights.down, &a.gate, s.intermediate, &a.x, s.hidden, true)?;
        Ok(all)
    }

    fn norm(&self, weight: &Buffer) -> Result<Dispatch, GpuError> {
        let stride = self.activations.strides.hidden as u32;
        let params = NormParams {
            len: self.config.hidden as u32,
            x_stride: stride,
            y_stride: stride,
            epsilon: self.config.norm_epsilon,
        };
        norm::dispatch(
            self.gpu,
            self.step,
            &params,
            false,
            [&self.activations.x, weight, &self.activations.normed],
        )
    }

    fn head_params(&self, layer: usize) -> HeadParams {
        let config = self.config;
        HeadParams {
            heads: config.heads as u32,
            kv_heads: config.kv_heads as u32,
            head_dim: config.head_dim as u32,
            context: self.context as u32,
            q_stride: self.activations.strides.q as u32,
            kv_stride: self.activations.strides.kv as u32,
            window: config.windows[layer].map_or(u32::MAX, |w| u32::try_from(w).unwrap_or(u32::MAX)),
            scale: (config.head_dim as f32).sqrt().recip(),
            epsilon: config.norm_epsilon,
            unused: [0; 3],
        }
    }
}
