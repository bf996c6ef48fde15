//! Limits the change of a whole matrix.

use super::limited;
use crate::gpu::kernels::training::MatrixPart;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("adalomo_limit")
}

/// Multiplies the factors of rows. The buffers are: what the step is given, sums of squares of the rows of changes and
/// of weights, and the factors.
pub fn dispatch(
    gpu: &Gpu,
    matrix: &MatrixPart,
    [step, changes, weights, row_scales]: [&Buffer; 4],
) -> Result<Dispatch, GpuError> {
    gpu.check_rounds("adalomo_limit", u64::from(matrix.rows).div_ceil(64))?;
    let buffers = [(0, step), (2, changes), (3, weights), (4, row_scales)];
    gpu.kernel(variant())?.bind(gpu, matrix, &buffers, [Workgroups::Fixed(1); 2])
}

/// The twin.
pub fn cpu(columns: usize, changes: &[f64], weights: &[f64], row_scales: &mut [f64]) {
    let by = limited(changes.iter().sum(), weights.iter().sum(), row_scales.len() * columns);
    row_scales.iter_mut().for_each(|scale| *scale *= by);
}
