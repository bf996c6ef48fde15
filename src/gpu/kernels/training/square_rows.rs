//! Sums of squares of each row of a piece of a matrix.

use super::MatrixPart;
use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel; `factored` multiplies elements by factors of their rows and columns first.
pub fn variant(factored: bool) -> Variant {
    Variant::new("square_rows").choose_if(factored, Choice::Factored)
}

/// Adds up squares of the rows of `x` in `sums`, which has a place for each row of the matrix. `scales` are factors of
/// the matrix's rows, and of its columns.
pub fn dispatch(
    gpu: &Gpu,
    part: &MatrixPart,
    [x, sums]: [&Buffer; 2],
    scales: Option<[&Buffer; 2]>,
) -> Result<Dispatch, GpuError> {
    let mut buffers = vec![(2, x), (3, sums)];
    buffers.extend(scales.into_iter().flat_map(|[rows, columns]| [(4, rows), (5, columns)]));
    let workgroups = [part.rows, 1].map(Workgroups::Fixed);
    gpu.kernel(variant(scales.is_some()))?.bind(gpu, part, &buffers, workgroups)
}

/// The twin, for all rows of a matrix.
pub fn cpu(columns: usize, x: &[f64], scales: Option<[&[f64]; 2]>) -> Vec<f64> {
    let factor =
        |row: usize, column: usize| scales.map_or(1.0, |[rows, columns]| rows[row] * columns[column]);
    let of_row = |(row, x): (usize, &[f64])| {
        x.iter().enumerate().map(|(column, x)| (x * factor(row, column)).powi(2)).sum()
    };
    x.chunks(columns).enumerate().map(of_row).collect()
}
