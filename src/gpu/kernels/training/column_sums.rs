//! Sums over tokens, column by column: gradients of biases, and of norms' weights.

use super::columns::Columns;
use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The kernel; `norm` multiplies by a norm's input and scales.
pub fn variant(norm: bool) -> Variant {
    Variant::new("column_sums").choose_if(norm, Choice::Norm)
}

/// Adds up gradients of all tokens; for a norm's weight, multiplied by the norm's input and by what the norm multiplied
/// each token by.
pub fn dispatch(
    gpu: &Gpu,
    params: &Columns,
    [y_grad, sums]: [&Buffer; 2],
    norm: Option<[&Buffer; 2]>,
) -> Result<Dispatch, GpuError> {
    gpu.check_rounds("column_sums", params.tokens.into())?;
    let mut buffers = vec![(2, y_grad), (3, sums)];
    buffers.extend(norm.into_iter().flat_map(|[x, scales]| [(4, x), (5, scales)]));
    let workgroups = [params.columns.div_ceil(64), 1].map(Workgroups::Fixed);
    gpu.kernel(variant(norm.is_some()))?.bind(gpu, params, &buffers, workgroups)
}

/// The twin. `norm` is the norm's input, as `y_grad` lies, and its scales.
pub fn cpu(params: &Columns, y_grad: &[f64], norm: Option<[&[f64]; 2]>) -> Vec<f64> {
    let mut sums = vec![0.0; params.columns as usize];
    match norm {
        None => params.of(y_grad).for_each(|y| sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += y)),
        Some([x, scales]) => {
            for ((y, x), scale) in params.of(y_grad).zip(params.of(x)).zip(scales) {
                sums.iter_mut().zip(y).zip(x).for_each(|((sum, y), x)| *sum += y * scale * x);
            }
        }
    }
    sums
}
