//! `y = W x` for a batch of tokens.

use super::matvec::{self, Group, Product};
use crate::gpu::weights::layouts::Format;
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::weights::{DeviceMatrix, Part};
use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Invocations, Sharing, Variant, Workgroups};

/// Tokens per workgroup: the number of sums that an invocation keeps.
const TOKENS: u32 = 16;

/// Possible tokens per workgroup if activations are a uniform.
const UNIFORM_TOKENS: [u32; 3] = [16, 8, 4];

/// The kernel for weights in `format`, with this number of `invocations` per row block, which do not share
/// rows.
pub fn variant(format: Format, invocations: Invocations, bias: bool, accumulate: bool) -> Variant {
    let variant = format.apply(Variant::new("matmul"), invocations.without_splits());
    // As in matvec, rare exceptions are handled separately on CPUs.
    let whole_chunks = format.layout().exceptions_are_rare() && invocations.rows_each() > 1;
    variant
        .flag_if(whole_chunks, "WHOLE_CHUNKS")
        .choose_if(bias, Choice::Bias)
        .choose_if(accumulate, Choice::Accumulate)
}

/// The same kernel with this number of tokens per workgroup.
pub fn with_tokens(variant: Variant, tokens: u32) -> Variant {
    variant.choose(Choice::Tokens(tokens))
}

/// The dispatches for each part of the weights: one, or one for each group of tokens if activations are a
/// uniform, or if all tokens together exceed a submission. `x` and `y` must have room for a multiple of
/// sixteen tokens; the contents of `x` after the batch's last token do not matter.
pub fn dispatches(gpu: &Gpu, step: &Buffer, product: &Product<'_>) -> Result<Vec<Dispatch>, GpuError> {
    let invocations = gpu.choices().matmul.of(product.weights.format).without_splits();
    let sharing = Sharing::alone(invocations);
    let weights = product.weights;
    let variant = variant(weights.format, invocations, product.bias.is_some(), product.accumulate)
        .choose_if(weights.spans_have_pieces(), Choice::Pieces);
    let variant = weights.apply_stored(variant);
    let room = (product.x.size() / (4 * product.x_stride.max(1)) as u64) as u32;
    let groups = |each: u32| -> Vec<Group> {
        let group = |first| Group { first, workgroups: Workgroups::Beyond(first), each };
        (0..room).step_by(each as usize).map(group).collect()
    };
    if let Some(tokens) = UNIFORM_TOKENS.into_iter().find(|&tokens| product.x_can_be_uniform(gpu, tokens)) {
        let variant = product.with_uniform_x(with_tokens(variant, tokens), tokens);
        return product.dispatch_parts(gpu, variant, sharing, Some(step), &groups(tokens));
    }
    let variant = with_tokens(variant, TOKENS);
    if most_weights(weights).saturating_mul(room.into()) > gpu.submission_work() {
        return product.dispatch_parts(gpu, variant, sharing, Some(step), &groups(TOKENS));
    }
    let all = Group { first: 0, workgroups: Workgroups::PerTokens(TOKENS), each: TOKENS };
    product.dispatch_parts(gpu, variant, sharing, Some(step), &[all])
}

/// Number of weights in the largest part.
fn most_weights(weights: &DeviceMatrix) -> u64 {
    let part = |part: &Part| weights.params_of(part).0.iter().map(MatrixParams::weights).sum();
    weights.parts.iter().map(part).max().unwrap_or(0)
}

/// Maximum dispatches, per part of the weights, of a product with `tokens` tokens and rows of `cols` columns.
pub fn most_dispatches(tokens: usize, cols: usize) -> u64 {
    let fits = |&each: &u32| 4 * u64::from(each) * cols as u64 <= super::matvec::MOST_UNIFORM;
    let each = UNIFORM_TOKENS.into_iter().find(fits).unwrap_or(TOKENS);
    (tokens as u64).div_ceil(u64::from(each))
}

/// The twin: [`matvec::cpu`] for each token of `x`, which has `cols` elements.
pub fn cpu(weights: &[f32], cols: usize, span_cols: usize, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    x.chunks_exact(cols).flat_map(|x| matvec::cpu(weights, span_cols, x, bias)).collect()
}
