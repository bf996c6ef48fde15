//! RMS norms of query or key heads, which are not where they are read.

use super::normed_heads::NormedHeads;
use crate::gpu::kernels::norm;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("head_norm")
}

/// For `tokens` tokens.
pub fn dispatch(
    gpu: &Gpu,
    params: &NormedHeads,
    tokens: usize,
    [x, weight, y]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let workgroups = [tokens as u32, params.heads].map(Workgroups::Fixed);
    gpu.kernel(variant())?.bind(gpu, params, &[(2, x), (3, weight), (4, y)], workgroups)
}

/// The twin.
pub fn cpu(params: &NormedHeads, x: &[f64], weight: &[f64], y: &mut [f64]) {
    for (x, y) in params.before(x).zip(params.after(y)) {
        for (x, y) in x.chunks(weight.len()).zip(y.chunks_mut(weight.len())) {
            y.copy_from_slice(&norm::cpu_wide(x, weight, f64::from(params.epsilon)));
        }
    }
}
