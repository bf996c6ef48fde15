//! One transformer layer: its weights, and its dispatches in a session.

use crate::archive::ArchiveError;
use crate::gpu::kernels::matvec::Product;
use crate::gpu::kernels::norm::NormParams;
use crate::gpu::kernels::rope::{HeadParams, RopeBuffers};
use crate::gpu::kernels::swiglu::SwigluParams;
use crate::gpu::kernels::{attention, norm, rope, swiglu};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, KvCache};
use crate::model::compute::activations::Activations;
use crate::model::compute::products::Products;
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::shape::strides::head_params;
use crate::model::weights::layer_weights::{AdapterWeights, GateUp, LayerWeights, Linear};

/// Places of products in their order.
const Q: usize = 0;
const V: usize = 2;
const O: usize = 3;
const GATE: usize = 4;
const DOWN: usize = 6;

/// The parameters with which a layer is recorded.
pub(crate) struct LayerContext<'a> {
    pub gpu: &'a Gpu,
    pub config: &'a ModelConfig,
    pub step: &'a Buffer,
    pub activations: &'a Activations,
    pub rotations: &'a Buffer,
    /// Positions in the KV cache.
    pub context: usize,
    /// Returns an error if nobody wants the dispatches any more. Called before each of them, because a kernel
    /// that is needed for the first time is compiled.
    pub go_on: &'a dyn Fn() -> Result<(), ArchiveError>,
}

impl LayerContext<'_> {
    /// All dispatches of one layer, in order.
    pub fn dispatches(
        &self,
        layer: usize,
        weights: &LayerWeights,
        cache: &KvCache,
        products: Products<'_>,
    ) -> Result<Vec<Dispatch>, ModelError> {
        let (a, s) = (self.activations, self.activations.strides);
        let mut all = Vec::new();
        let multiply = |all: &mut Vec<Dispatch>, product: Product<'_>| {
            (self.go_on)()?;
            all.extend(products.dispatches(self.gpu, self.step, &product)?);
            Ok::<_, ModelError>(())
        };
        // What an adapter adds to a product.
        let adapt = |all: &mut Vec<Dispatch>, i: usize, product: Product<'_>| {
            let Some(AdapterWeights { a: first, b: second }) = &weights.adapters[i] else { return Ok(()) };
            let (inner, stride) = (&a.adapter, a.adapter_stride);
            let plain = Product { bias: None, ..product };
            multiply(
                all,
                Product { weights: first, y: inner, y_stride: stride, accumulate: false, ..plain },
            )?;
            multiply(all, Product { weights: second, x: inner, x_stride: stride, accumulate: true, ..plain })
        };
        // Products that read the normed residual stream.
        let from_normed = |weights, bias, y, y_stride| {
            let (x, x_stride, accumulate) = (&a.normed, s.hidden, false);
            Product { weights, x, x_stride, y, y_stride, bias, accumulate }
        };
        // Products that add to the residual stream.
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
        for i in Q..=V {
            adapt(&mut all, i, from_normed(&weights.o.weights, None, &a.qkv, s.qkv))?;
        }
        let heads = self.head_params(layer);
        let norms = weights.head_norms.as_ref().map(|[q, k]| [q, k]);
        let with = RopeBuffers { qkv: &a.qkv, rotations: self.rotations, cache, head_norms: norms };
        all.push(rope::dispatch(self.gpu, self.step, &heads, &with)?);
        (self.go_on)()?;
        let division = attention::Division::of(self.gpu.target(), cache.cache_type);
        all.push(attention::dispatch(self.gpu, self.step, &heads, division, cache, [&a.qkv, &a.attended])?);
        let Linear { weights: o, bias } = &weights.o;
        multiply(&mut all, to_residual(o, bias.as_ref(), &a.attended, s.attended))?;
        adapt(&mut all, O, to_residual(o, None, &a.attended, s.attended))?;

        all.push(self.norm(&weights.mlp_norm)?);
        match &weights.gate_up {
            GateUp::Gated(both) => multiply(&mut all, from_normed(both, None, &a.gate, s.intermediate))?,
            GateUp::Apart(apart) => {
                for (i, (Linear { weights, bias }, y)) in (GATE..).zip(apart.iter().zip([&a.gate, &a.up])) {
                    multiply(&mut all, from_normed(weights, bias.as_ref(), y, s.intermediate))?;
                    adapt(&mut all, i, from_normed(weights, None, y, s.intermediate))?;
                }
                all.push(self.swiglu()?);
            }
        }
        let Linear { weights: down, bias } = &weights.down;
        multiply(&mut all, to_residual(down, bias.as_ref(), &a.gate, s.intermediate))?;
        adapt(&mut all, DOWN, to_residual(down, None, &a.gate, s.intermediate))?;
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
