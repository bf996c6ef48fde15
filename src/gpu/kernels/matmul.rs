//! `y = W x` for a batch of tokens.

use super::matvec::{self, Product};
use crate::gpu::format::Format;
use crate::gpu::invocations::Invocations;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// Tokens that a workgroup handles: sums that an invocation keeps.
const TOKENS: u32 = 16;

/// The kernel for weights in `format`, with so many `invocations` for a row block, which share no row.
pub fn variant(format: Format, invocations: Invocations, bias: bool, accumulate: bool) -> Variant {
    let variant = format.apply(Variant::new("matmul"), invocations.without_splits());
    variant.flag_if(bias, "BIAS").flag_if(accumulate, "ACCUMULATE")
}

/// One dispatch for each part of the weights. `x` and `y` must have room for a multiple of sixteen
/// tokens; what lies in `x` past the batch's last token does not matter.
pub fn dispatches(gpu: &Gpu, step: &Buffer, product: &Product<'_>) -> Result<Vec<Dispatch>, GpuError> {
    let invocations = gpu.choices().matmul.of(product.weights.format);
    let variant = variant(product.weights.format, invocations, product.bias.is_some(), product.accumulate);
    product.dispatch_parts(gpu, variant, Some(step), Workgroups::PerTokens(TOKENS))
}

/// The twin: each token of `x`, `cols` elements long, as [`matvec::cpu`] does it.
pub fn cpu(weights: &[f32], cols: usize, span_cols: usize, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    x.chunks_exact(cols).flat_map(|x| matvec::cpu(weights, span_cols, x, bias)).collect()
}
