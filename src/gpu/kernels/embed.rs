//! Embedding rows of a batch of tokens, from raw or compressed weights.

use crate::gpu::weights::layouts::Format;
use crate::gpu::weights::{DeviceMatrix, Part};
use crate::gpu::{Bound, Buffer, Dispatch, Gpu, GpuError, Invocations, Variant, Workgroups};

/// The kernel for weights in `format`.
pub fn variant(format: Format) -> Variant {
    let format = match format {
        Format::Dense(dense) => Format::Dense(dense.for_few()),
        others => others,
    };
    format
        .apply(Variant::new("embed"), Invocations::ONE_ROW_EACH)
        .flag_if(format.layout().has_exceptions(), "SEEK")
}

/// One dispatch for each part of the weights. It writes row `token_ids[t]` to token `t` of `y`.
pub fn dispatches(
    gpu: &Gpu,
    step: &Buffer,
    weights: &DeviceMatrix,
    token_ids: &Buffer,
    y: &Buffer,
    y_stride: usize,
) -> Result<Vec<Dispatch>, GpuError> {
    let kernel = gpu.kernel(weights.apply_words(variant(weights.format)))?;
    let bind = |part: &Part| {
        let mut params = part.params.in_chunks(weights.format);
        params.y_stride = y_stride as u32;
        let mut buffers: Vec<(u32, Bound<'_>)> =
            vec![(0, step.into()), (2, (&part.payload).into()), (4, token_ids.into()), (5, y.into())];
        buffers.extend(weights.table(part).map(|table| (3, table)));
        kernel.bind(gpu, &params, &buffers, [Workgroups::PerTokens(1), Workgroups::Fixed(1)])
    };
    weights.parts.iter().map(bind).collect()
}

/// The twin; rows of `weights` have `cols` elements each.
pub fn cpu(weights: &[f32], cols: usize, token_ids: &[u32]) -> Vec<f32> {
    token_ids.iter().flat_map(|&id| &weights[id as usize * cols..][..cols]).copied().collect()
}
