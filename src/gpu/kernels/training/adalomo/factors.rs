//! What AdaLomo keeps of a matrix, and what its gradients are multiplied by.

use super::{EPSILON, inverse_root, kept};
use crate::gpu::kernels::training::MatrixPart;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("adalomo_factors")
}

/// The buffers of [`dispatch`].
#[derive(Debug, Clone, Copy)]
pub struct Factors<'a> {
    /// What the step is given: an [`UpdateStep`](crate::gpu::kernels::training::updated::UpdateStep).
    pub step: &'a Buffer,
    /// Sums of squares of gradients, of each row and of each column.
    pub squares: [&'a Buffer; 2],
    /// What is kept: means of rows' squares, and of columns'.
    pub means: &'a Buffer,
    /// Factors of rows and of columns, which are written.
    pub scales: [&'a Buffer; 2],
    /// What went wrong.
    pub status: &'a Buffer,
}

/// For a whole matrix.
pub fn dispatch(gpu: &Gpu, matrix: &MatrixPart, with: &Factors<'_>) -> Result<Dispatch, GpuError> {
    let Factors { step, squares, means, scales, status } = *with;
    gpu.check_rounds("adalomo_factors", u64::from(matrix.rows.max(matrix.columns)).div_ceil(64))?;
    let buffers = [
        (0, step),
        (2, squares[0]),
        (3, squares[1]),
        (4, means),
        (5, scales[0]),
        (6, scales[1]),
        (7, status),
    ];
    gpu.kernel(variant())?.bind(gpu, matrix, &buffers, [Workgroups::Fixed(1); 2])
}

/// The twin: changes means, and gives factors of rows and of columns.
pub fn cpu(beta2: f64, squares: [&[f64]; 2], means: [&mut [f64]; 2]) -> [Vec<f64>; 2] {
    let [of_rows, of_columns] = squares;
    let (rows, columns) = (of_rows.len(), of_columns.len());
    let [row_means, column_means] = means;
    for (means, squares, count) in
        [(&mut *row_means, of_rows, columns), (&mut *column_means, of_columns, rows)]
    {
        for (mean, sum) in means.iter_mut().zip(squares) {
            *mean = kept(beta2, *mean, sum / count as f64);
        }
    }
    let root = (row_means.iter().sum::<f64>() / rows as f64).max(EPSILON).sqrt();
    let of_rows = row_means.iter().map(|&mean| root * inverse_root(mean)).collect();
    [of_rows, column_means.iter().map(|&mean| inverse_root(mean)).collect()]
}
