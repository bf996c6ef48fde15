//! `y = W x` for one token.

use super::swiglu;
use crate::gpu::weights::layouts::Format;
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::weights::{DeviceMatrix, Join, Part, Words};
use crate::gpu::{
    Bound, Buffer, Choice, Dispatch, Gpu, GpuError, Invocations, Sharing, Target, Variant, Work, Workgroups,
};

/// A product of a weight matrix with activations, or of several that are [joined](crate::gpu::weights::Join).
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// W.
    pub weights: &'a DeviceMatrix,
    /// Activations, `x_stride` elements a token.
    pub x: &'a Buffer,
    /// Distance in elements from one token of `x` to the next: at least the padded columns, and a multiple of
    /// 16.
    pub x_stride: usize,
    /// Results, `y_stride` elements a token.
    pub y: &'a Buffer,
    /// Distance in elements from one token of `y` to the next.
    pub y_stride: usize,
    /// A bias that is added to every token's result.
    pub bias: Option<&'a Buffer>,
    /// Whether the result is added to the contents of `y`.
    pub accumulate: bool,
}

/// Maximum bytes of a uniform for activations.
pub(super) const MOST_UNIFORM: u64 = 64 << 10;

/// The tokens that a dispatch multiplies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// The first token.
    pub first: u32,
    /// The workgroups that multiply them.
    pub workgroups: Workgroups,
    /// Tokens per workgroup.
    pub each: u32,
}

/// `variant` with a uniform for this many tokens of `x_stride` elements each.
pub(super) fn with_uniform_x(variant: Variant, tokens: u32, x_stride: u32) -> Variant {
    variant.choose(Choice::UniformX(tokens * x_stride / 4))
}

/// The kernel for weights in `format`.
pub fn variant(format: Format, sharing: Sharing, bias: bool, accumulate: bool) -> Variant {
    let layout = format.layout();
    let invocations = sharing.invocations;
    // Only CPUs use several rows per invocation, and there chunks with exceptions are handled separately if they
    // are rare.
    let care = layout.exceptions_are_rare() && invocations.rows_each() > 1;
    let splits = sharing.splits();
    format
        .apply(Variant::new("matvec"), invocations)
        .choose(Choice::Splits(splits))
        .choose(Choice::Strips(sharing.strips))
        .flag_if(!layout.is_tiled() && splits == 1, "IN_ORDER")
        .flag_if(care, "CARE")
        .choose_if(bias, Choice::Bias)
        .choose_if(accumulate, Choice::Accumulate)
}

/// One dispatch for each part of the weights.
pub fn dispatches(gpu: &Gpu, product: &Product<'_>) -> Result<Vec<Dispatch>, GpuError> {
    let weights = product.weights;
    let invocations = gpu.choices().matvec.of(weights.format);
    let row_blocks = weights.parts.first().map_or(0, |part| weights.params_of(part).1);
    let sharing = Sharing::for_shape(gpu.target(), invocations, row_blocks, weights.splits());
    let mut variant = variant(weights.format, sharing, product.bias.is_some(), product.accumulate)
        .choose_if(weights.spans_have_pieces(), Choice::Pieces);
    variant = weights.apply_stored(variant);
    if product.x_can_be_uniform(gpu, 1) {
        variant = product.with_uniform_x(variant, 1);
    }
    let one = Group { first: 0, workgroups: Workgroups::Fixed(1), each: 1 };
    product.dispatch_parts(gpu, variant, sharing, None, &[one])
}

impl Product<'_> {
    /// Whether a uniform is better for this many tokens. llvmpipe reads lane by lane even if all lanes read
    /// the same, except from a uniform. With dense tiles this is not the bottleneck, except for one token if
    /// they are in a texture.
    pub(super) fn x_can_be_uniform(&self, gpu: &Gpu, tokens: u32) -> bool {
        let bytes = 4 * u64::from(tokens) * self.x_stride as u64;
        // Groups of tokens can only be bound at multiples of 256 bytes.
        let is_aligned = tokens == 1 || bytes.is_multiple_of(256);
        let in_texture = self.weights.parts.iter().all(|part| matches!(part.payload, Words::Texture(_)));
        let is_worth_it = !self.weights.format.layout().is_tiled() || (in_texture && tokens == 1);
        // A host may have requested a lower limit.
        let is_allowed = gpu.device().limits().max_uniform_buffer_binding_size >= MOST_UNIFORM;
        let fits = self.x.is_uniform() && is_aligned && is_allowed && bytes <= MOST_UNIFORM;
        gpu.target() == Target::Llvmpipe && is_worth_it && fits
    }

    /// `variant` with a uniform for this many tokens.
    pub(super) fn with_uniform_x(&self, variant: Variant, tokens: u32) -> Variant {
        with_uniform_x(variant, tokens, self.x_stride as u32)
    }

    /// Binds `variant` to each part and each group of tokens: strips of row blocks along x, tokens along y. The
    /// dispatches of a part are consecutive, because it may be streamed.
    pub(super) fn dispatch_parts(
        &self,
        gpu: &Gpu,
        variant: Variant,
        sharing: Sharing,
        step: Option<&Buffer>,
        groups: &[Group],
    ) -> Result<Vec<Dispatch>, GpuError> {
        let gated = self.weights.joined.as_ref().is_some_and(|joined| joined.join == Join::Gated);
        for part in &self.weights.parts {
            let (matrices, _) = self.weights.params_of(part);
            let rounds = loop_rounds(self.weights.format, sharing.invocations, &matrices, gated);
            gpu.check_rounds(variant.kernel, rounds)?;
        }
        debug_assert!(self.x_stride.is_multiple_of(16) && self.x_stride >= self.weights.padded_cols());
        let kernel = gpu.kernel(variant)?;
        let bind = |part: &Part, group: &Group| {
            let (mut params, row_blocks) = self.weights.params_of(part);
            for params in &mut params {
                params.x_stride = self.x_stride as u32;
                params.y_stride = self.y_stride as u32;
                params.first_token = group.first;
            }
            let from = 4 * u64::from(group.first) * self.x_stride as u64;
            let x = Bound::Buffer { buffer: self.x, from };
            let mut buffers = vec![(2, Bound::from(&part.payload)), (4, x), (5, self.y.into())];
            buffers.extend(step.map(|b| (0, b.into())));
            buffers.extend(self.weights.table(part).map(|table| (3, table)));
            buffers.extend(self.bias.map(|b| (6, b.into())));
            let strips = row_blocks * sharing.strips;
            let workgroups = [Workgroups::Fixed(strips), group.workgroups];
            let weights: u64 = params.iter().map(MatrixParams::weights).sum();
            let work = Work::AWorkgroup(weights.div_ceil(strips.max(1).into()) * u64::from(group.each));
            Ok(kernel.bind_each(gpu, &params, &buffers, workgroups)?.at_stage(part.stage).with_work(work))
        };
        let all = |part| groups.iter().map(move |group| bind(part, group));
        self.weights.parts.iter().flat_map(all).collect()
    }
}

/// Iterations of an invocation's loops in a product with `matrices` in `format`. Only `gated` matrices share
/// an invocation. Loops whose bodies run once with all lanes off are counted.
fn loop_rounds(format: Format, invocations: Invocations, matrices: &[MatrixParams], gated: bool) -> u64 {
    let rows = u64::from(invocations.rows_each());
    let of =
        |matrix: &MatrixParams| format.layout().product_rounds(matrix, rows) + 2 * u64::from(matrix.spans);
    let all = matrices.iter().map(of);
    if gated { all.sum() } else { all.max().unwrap_or(0) }
}

/// The twin: `weights` is row-major, `x` has one element per column. Spans have
/// [`span_cols`](DeviceMatrix::span_cols) columns.
pub fn cpu(weights: &[f32], span_cols: usize, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let span = |(row, x): (&[f32], &[f32])| {
        let mut sum = [0f32; 4];
        for (c, (w, x)) in row.iter().zip(x).enumerate() {
            sum[c % 4] = w.mul_add(*x, sum[c % 4]);
        }
        (sum[0] + sum[1]) + (sum[2] + sum[3])
    };
    let row = |(i, row): (usize, &[f32])| {
        let spans = row.chunks(span_cols).zip(x.chunks(span_cols)).map(span);
        spans.fold(0.0, |total, sum| total + sum) + bias.map_or(0.0, |b| b[i])
    };
    weights.chunks_exact(x.len()).enumerate().map(row).collect()
}

/// The twin of a [gated](crate::gpu::weights::Join::Gated) product, computed with [`cpu`] for each matrix.
pub fn cpu_gated([gate, up]: [&[f32]; 2], span_cols: usize, x: &[f32]) -> Vec<f32> {
    swiglu::cpu(&cpu(gate, span_cols, x, None), &cpu(up, span_cols, x, None))
}
