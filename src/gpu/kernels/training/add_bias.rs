//! Adds a bias to columns of every token.

use super::columns::Columns;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("add_bias")
}

/// Adds `bias` to `y`.
pub fn dispatch(gpu: &Gpu, params: &Columns, [bias, y]: [&Buffer; 2]) -> Result<Dispatch, GpuError> {
    let workgroups = [params.columns.div_ceil(64), params.tokens].map(Workgroups::Fixed);
    gpu.kernel(variant())?.bind(gpu, params, &[(2, bias), (3, y)], workgroups)
}

/// The twin.
pub fn cpu(params: &Columns, bias: &[f64], y: &mut [f64]) {
    for token in y.chunks_mut(params.stride as usize).take(params.tokens as usize) {
        token[params.first as usize..].iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}
