//! One transformer layer: its weights, and its dispatches in a session.

use std::ops::Range;

use crate::gpu::kernels::matvec::Product;
use crate::gpu::kernels::norm::NormParams;
use crate::gpu::kernels::rope::{HeadParams, RopeBuffers};
use crate::gpu::kernels::swiglu::SwigluParams;
use crate::gpu::kernels::{attention, matmul, matvec, norm, rope, swiglu, widen};
use crate::gpu::weights::layouts::WIDE_CHUNK;
use crate::gpu::weights::{DeviceMatrix, Join};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, KvCache, WideRoom};
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::loading::loader::{Linear, Loader};

/// The name of a part of a layer.
pub(crate) fn layer_name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// A product of a layer, as its weights are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProductShape {
    /// What its tensors' names begin with, in the layer.
    pub name: &'static str,
    pub rows: usize,
    pub cols: usize,
    pub bias: bool,
}

/// The products of every layer: queries, keys, values, attention's output, gate, up, down.
pub(crate) fn products(config: &ModelConfig) -> [ProductShape; 7] {
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

/// Which of [`products`] are joined where they can be: queries, keys and values; gate and up.
pub(crate) const JOINED: [Range<usize>; 2] = [0..3, 4..6];

/// Names and lengths of the norms before attention and before the MLP.
pub(crate) fn norms(config: &ModelConfig) -> [(&'static str, usize); 2] {
    [("input_layernorm.weight", config.hidden), ("post_attention_layernorm.weight", config.hidden)]
}

/// Names and lengths of the norms of query and key heads, where a model has them.
pub(crate) fn head_norms(config: &ModelConfig) -> Option<[(&'static str, usize); 2]> {
    let norm = |name| (name, config.head_dim);
    config.head_norms.then(|| [norm("self_attn.q_norm.weight"), norm("self_attn.k_norm.weight")])
}

/// A layer's weights on the device.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    input_norm: Buffer,
    /// Queries, keys and values, whose results lie side by side.
    qkv: Vec<DeviceMatrix>,
    qkv_bias: Option<Buffer>,
    head_norms: Option<[Buffer; 2]>,
    o: Linear,
    mlp_norm: Buffer,
    gate_up: GateUp,
    down: Linear,
}

/// The first two matrices of an MLP.
#[derive(Debug)]
enum GateUp {
    /// One dispatch multiplies with both, and joins the results.
    Gated(Box<DeviceMatrix>),
    /// The results are joined by a dispatch of their own.
    Apart(Vec<Linear>),
}

impl GateUp {
    async fn load(
        loader: &mut Loader<'_>,
        name: impl Fn(&str) -> String,
        [gate, up]: [&ProductShape; 2],
    ) -> Result<Self, ModelError> {
        if gate.bias || up.bias {
            let gate = loader.linear(&name(gate.name), gate).await?;
            return Ok(Self::Apart(vec![gate, loader.linear(&name(up.name), up).await?]));
        }
        let named = [gate, up].map(|shape| (name(shape.name) + ".weight", shape));
        let apart = |weights| Linear { weights, bias: None };
        Ok(match <[DeviceMatrix; 1]>::try_from(loader.joined(&named, Join::Gated).await?) {
            Ok([both]) => Self::Gated(Box::new(both)),
            Err(matrices) => Self::Apart(matrices.into_iter().map(apart).collect()),
        })
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Gated(both) => both.bytes(),
            Self::Apart(apart) => apart.iter().map(Linear::bytes).sum(),
        }
    }
}

impl LayerWeights {
    pub async fn load(
        loader: &mut Loader<'_>,
        config: &ModelConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| layer_name(layer, part);
        let [q, k, v, o, gate, up, down] = products(config);
        let vector = async |loader: &mut Loader<'_>, (part, len)| loader.vector(&name(part), len).await;
        let [input_norm, mlp_norm] = norms(config);
        Ok(Self {
            input_norm: vector(loader, input_norm).await?,
            qkv: {
                let named = [&q, &k, &v].map(|shape| (name(shape.name) + ".weight", shape));
                loader.joined(&named, Join::Stacked).await?
            },
            qkv_bias: match q.bias {
                true => {
                    let named = [&q, &k, &v].map(|shape| (name(shape.name) + ".bias", shape.rows));
                    Some(loader.vectors(&named).await?)
                }
                false => None,
            },
            head_norms: match head_norms(config) {
                Some([q, k]) => Some([vector(loader, q).await?, vector(loader, k).await?]),
                None => None,
            },
            o: loader.linear(&name(o.name), &o).await?,
            mlp_norm: vector(loader, mlp_norm).await?,
            gate_up: GateUp::load(loader, name, [&gate, &up]).await?,
            down: loader.linear(&name(down.name), &down).await?,
        })
    }

    pub fn bytes(&self) -> u64 {
        let vectors = [&self.input_norm, &self.mlp_norm].into_iter();
        let vectors = vectors.chain(&self.qkv_bias).chain(self.head_norms.iter().flatten());
        self.qkv.iter().map(DeviceMatrix::bytes).sum::<u64>()
            + [&self.o, &self.down].map(Linear::bytes).iter().sum::<u64>()
            + self.gate_up.bytes()
            + vectors.map(Buffer::size).sum::<u64>()
    }

    /// The matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &DeviceMatrix> {
        let gate_up: Vec<&DeviceMatrix> = match &self.gate_up {
            GateUp::Gated(both) => vec![both],
            GateUp::Apart(apart) => apart.iter().map(|linear| &linear.weights).collect(),
        };
        self.qkv.iter().chain([&self.o.weights, &self.down.weights]).chain(gate_up)
    }

    /// Whether results of the second matrix of the MLP need room of their own.
    pub fn has_up(&self) -> bool {
        matches!(self.gate_up, GateUp::Apart(_))
    }
}

/// Elements from one token to the next of each kind of activation: multiples of 32, so that the
/// products read whole chunks. The padding stays zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub hidden: usize,
    /// Queries, keys and values of a token: these are not what products read.
    pub qkv: usize,
    /// What attention gives.
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

/// Which kernel multiplies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products<'a> {
    /// One token: `matvec`.
    Single,
    /// A batch: `matmul`.
    Batch,
    /// A batch of at least so many tokens: `matmul`, and where that is worth it, `widen` before it.
    Widened(usize, &'a WideRoom),
}

impl Products<'_> {
    /// The dispatches of one product.
    pub fn dispatches(
        self,
        gpu: &Gpu,
        step: &Buffer,
        product: &Product<'_>,
    ) -> Result<Vec<Dispatch>, GpuError> {
        match self {
            Self::Single => matvec::dispatches(gpu, product),
            Self::Widened(tokens, room) if gpu.choices().widens(product.weights.format, tokens) => {
                widen::dispatches(gpu, step, room, product)
            }
            Self::Batch | Self::Widened(..) => matmul::dispatches(gpu, step, product),
        }
    }
}

/// What a layer is recorded with.
pub(crate) struct LayerContext<'a> {
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
        products: Products<'_>,
    ) -> Result<Vec<Dispatch>, GpuError> {
        let (a, s) = (self.activations, self.activations.strides);
        let mut all = Vec::new();
        let multiply = |all: &mut Vec<Dispatch>, product: Product<'_>| {
            all.extend(products.dispatches(self.gpu, self.step, &product)?);
            Ok::<_, GpuError>(())
        };
        // From the normed residual stream.
        let from_normed = |weights, bias, y, y_stride| {
            let (x, x_stride, accumulate) = (&a.normed, s.hidden, false);
            Product { weights, x, x_stride, y, y_stride, bias, accumulate }
        };
        // To the residual stream.
        let to_residual = |weights, bias, x, x_stride| Product {
            weights,
            x,
            x_stride,
            y: &a.x,
            y_stride: s.hidden,
            bias,
            accumulate: true,
        };

        all.push(self.norm(&weights.input_norm)?);
        for matrix in &weights.qkv {
            multiply(&mut all, from_normed(matrix, weights.qkv_bias.as_ref(), &a.qkv, s.qkv))?;
        }
        let heads = self.head_params(layer);
        let norms = weights.head_norms.as_ref().map(|[q, k]| [q, k]);
        let with = RopeBuffers { qkv: &a.qkv, rotations: self.rotations, cache, head_norms: norms };
        all.push(rope::dispatch(self.gpu, self.step, &heads, &with)?);
        let division = attention::Division::of(self.gpu.target(), cache.cache_type);
        all.push(attention::dispatch(self.gpu, self.step, &heads, division, cache, [&a.qkv, &a.attended])?);
        let Linear { weights: o, bias } = &weights.o;
        multiply(&mut all, to_residual(o, bias.as_ref(), &a.attended, s.attended))?;

        all.push(self.norm(&weights.mlp_norm)?);
        match &weights.gate_up {
            GateUp::Gated(both) => multiply(&mut all, from_normed(both, None, &a.gate, s.intermediate))?,
            GateUp::Apart(apart) => {
                for (Linear { weights, bias }, y) in apart.iter().zip([&a.gate, &a.up]) {
                    multiply(&mut all, from_normed(weights, bias.as_ref(), y, s.intermediate))?;
                }
                all.push(self.swiglu()?);
            }
        }
        let Linear { weights, bias } = &weights.down;
        multiply(&mut all, to_residual(weights, bias.as_ref(), &a.gate, s.intermediate))?;
        Ok(all)
    }

    fn swiglu(&self) -> Result<Dispatch, GpuError> {
        let a = self.activations;
        let (len, stride) = (self.config.intermediate as u32, a.strides.intermediate as u32);
        let params = SwigluParams { len, stride, zeros: [0; 2] };
        swiglu::dispatch(self.gpu, self.step, &params, [&a.gate, &a.up])
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
        let params = head_params(self.config, layer);
        HeadParams { context: self.context as u32, ..params }
    }
}

/// The parameters of a layer's heads, but for the context.
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
