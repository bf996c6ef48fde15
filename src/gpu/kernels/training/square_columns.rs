//! Sums of squares of each column of a matrix, piece by piece.

use super::MatrixPart;
use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel; with `accumulate` it goes on from sums of pieces before.
pub fn variant(accumulate: bool) -> Variant {
    Variant::new("square_columns").choose_if(accumulate, Choice::Accumulate)
}

/// Adds up squares of the columns of `x`.
pub fn dispatch(
    gpu: &Gpu,
    part: &MatrixPart,
    accumulate: bool,
    [x, sums]: [&Buffer; 2],
) -> Result<Dispatch, GpuError> {
    gpu.check_rounds("square_columns", part.rows.into())?;
    let workgroups = [part.columns.div_ceil(64), 1].map(Workgroups::Fixed);
    gpu.kernel(variant(accumulate))?.bind(gpu, part, &[(2, x), (3, sums)], workgroups)
}

/// The twin, for all rows of a matrix.
pub fn cpu(columns: usize, x: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    x.chunks(columns).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x));
    sums
}
