//! Makes changes of a piece's gradients.

use crate::gpu::kernels::training::MatrixPart;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("adalomo_change")
}

/// Multiplies gradients, where they are, by factors of the matrix's rows and columns.
pub fn dispatch(
    gpu: &Gpu,
    part: &MatrixPart,
    [grads, row_scales, column_scales]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let buffers = [(2, grads), (3, row_scales), (4, column_scales)];
    let workgroups = [part.rows, part.columns.div_ceil(64)].map(Workgroups::Fixed);
    gpu.kernel(variant())?.bind(gpu, part, &buffers, workgroups)
}

/// The twin, for all rows of a matrix.
pub fn cpu(grads: &mut [f64], [row_scales, column_scales]: [&[f64]; 2]) {
    for (row, by) in grads.chunks_mut(column_scales.len()).zip(row_scales) {
        row.iter_mut().zip(column_scales).for_each(|(grad, scale)| *grad *= by * scale);
    }
}
