//! Gradients of the embedding's rows.

use super::embed_rows::TableRows;
use crate::gpu::{Buffer, Choice, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// For each row where its tokens begin, and the tokens of all rows in order, from the ids of a batch.
///
/// Ids must be less than `rows`.
pub fn tokens_by_row(ids: &[u32], rows: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; rows + 1];
    ids.iter().for_each(|&id| starts[id as usize + 1] += 1);
    for row in 0..rows {
        starts[row + 1] += starts[row];
    }
    let (mut next, mut places) = (starts.clone(), vec![0; ids.len()]);
    for (token, &id) in ids.iter().enumerate() {
        places[next[id as usize] as usize] = token as u32;
        next[id as usize] += 1;
    }
    (starts, places)
}

/// The kernel.
pub fn variant(accumulate: bool) -> Variant {
    Variant::new("embed_grad").choose_if(accumulate, Choice::Accumulate)
}

/// Computes gradients of rows from those of `tokens` tokens; adds to them if `accumulate` is set.
pub fn dispatch(
    gpu: &Gpu,
    params: &TableRows,
    tokens: usize,
    accumulate: bool,
    [starts, places, x_grad, grads]: [&Buffer; 4],
) -> Result<Dispatch, GpuError> {
    // All of them may have looked up the same row.
    gpu.check_rounds("embed_grad", tokens as u64 + 1)?;
    let buffers = [(2, starts), (3, places), (4, x_grad), (5, grads)];
    let workgroups = [params.count, params.columns.div_ceil(64)].map(Workgroups::Fixed);
    gpu.kernel(variant(accumulate))?.bind(gpu, params, &buffers, workgroups)
}

/// The twin: adds to the gradients of the whole table.
pub fn cpu(params: &TableRows, ids: &[u32], x_grad: &[f64], grads: &mut [f64]) {
    let (columns, stride) = (params.columns as usize, params.stride as usize);
    for (x_grad, &id) in x_grad.chunks(stride).zip(ids) {
        let row = &mut grads[id as usize * columns..][..columns];
        row.iter_mut().zip(x_grad).for_each(|(grad, x)| *grad += x);
    }
}
