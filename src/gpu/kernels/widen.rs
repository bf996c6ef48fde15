//! Widening compressed weights to uncompressed ones before a batch is multiplied with them. The twin is
//! [`crate::codec::decode`], followed by [`interleave`](crate::gpu::weights::layouts::raw::interleave).

use std::ops::Range;

use super::matmul;
use super::matvec::Product;
use crate::gpu::device::dispatch::MAX_WORKGROUPS;
use crate::gpu::weights::layouts::Format;
use crate::gpu::weights::layouts::raw;
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::weights::{DeviceMatrix, Join, Joined, Part};
use crate::gpu::{Bound, Buffer, Dispatch, Gpu, GpuError, Invocations, Variant, WideRoom, Work, Workgroups};

/// The kernel for weights in `format`, with this number of `invocations` per row block, which do not share
/// rows.
pub fn variant(format: Format, invocations: Invocations) -> Variant {
    let bits = format.dtype().bitsize() as u32;
    format
        .apply(Variant::new("widen"), invocations.without_splits())
        .flag(format!("WIDE_{bits}"))
        .constant("WIDE_BITS", bits)
        .flag_if(format.layout().exceptions_are_rare(), "CARE")
}

/// The dispatches of a product with a batch whose weights are widened first, as many rows at a time as fit
/// `room`. Uncompressed or too large weights use [`matmul::dispatches`].
pub fn dispatches(
    gpu: &Gpu,
    step: &Buffer,
    room: &WideRoom,
    product: &Product<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let tokens = product.x.size() / (4 * product.x_stride.max(1)) as u64;
    let Some(runs) = runs(gpu, room, product.weights, tokens)? else {
        return matmul::dispatches(gpu, step, product);
    };
    let mut all = Vec::new();
    for Run { widen, weights } in runs {
        all.push(widen);
        let multiply = matmul::dispatches(gpu, step, &Product { weights: &weights, ..*product })?;
        // Counted with the widening dispatch, because no other work may come between them.
        all.extend(multiply.into_iter().map(|dispatch| dispatch.with_work(Work::Little)));
    }
    Ok(all)
}

/// The dispatch that writes all of a matrix, which is in one part and has its table in `table`, to `to`.
pub(super) fn whole(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    table: Bound<'_>,
    to: Bound<'_>,
) -> Result<Dispatch, GpuError> {
    let invocations = gpu.choices().matmul.of(weights.format);
    let kernel = gpu.kernel(weights.apply_words(variant(weights.format, invocations)))?;
    let Some(part) = weights.parts.first() else {
        return Err(GpuError::Validation("a matrix without parts cannot be widened".into()));
    };
    let buffers = [(2, Bound::from(&part.payload)), (3, table), (4, to)];
    let workgroups = [part.params.col_tiles, part.params.row_blocks()].map(Workgroups::Fixed);
    kernel.bind(gpu, &part.params, &buffers, workgroups)
}

/// Rows that are widened together.
struct Run {
    widen: Dispatch,
    /// The widened weights in the room.
    weights: DeviceMatrix,
}

/// `None` if the weights are multiplied without widening.
fn runs(
    gpu: &Gpu,
    room: &WideRoom,
    weights: &DeviceMatrix,
    tokens: u64,
) -> Result<Option<Vec<Run>>, GpuError> {
    if !weights.format.layout().is_compressed() {
        return Ok(None);
    }
    let cols = weights.matrix.cols;
    let block = raw::row_block_bytes(weights.format.dtype(), cols) as u64;
    let at_once = (room.capacity() / block.max(1)).min(MAX_WORKGROUPS.into()) as u32;
    let mut runs = Vec::new();
    for part in &weights.parts {
        let widening = Widening { gpu, room, weights, part, tokens };
        let Some(cuts) = widening.cuts(at_once) else { return Ok(None) };
        for cut in cuts {
            if widening.work(&cut) > gpu.submission_work() {
                return Ok(None);
            }
            runs.extend(widening.run(&cut)?);
        }
    }
    Ok(Some(runs))
}

/// A part of a matrix that will be widened.
struct Widening<'a> {
    gpu: &'a Gpu,
    room: &'a WideRoom,
    weights: &'a DeviceMatrix,
    part: &'a Part,
    tokens: u64,
}

/// The row blocks of each member that are widened together.
type Cut = Vec<Range<u32>>;

/// Divides all `blocks` of matrices with this join, `at_once` at a time. `None` if not even one block of each
/// fits, or if there are more `tiles` side by side than workgroups.
fn cuts(join: Option<Join>, blocks: &[u32], tiles: u32, at_once: u32) -> Option<Vec<Cut>> {
    if tiles > MAX_WORKGROUPS {
        return None;
    }
    if blocks.iter().sum::<u32>() <= at_once {
        return Some(vec![blocks.iter().map(|&end| 0..end).collect()]);
    }
    let steps =
        |end: u32, each: u32| (0..end).step_by(each as usize).map(move |start| start..end.min(start + each));
    match join {
        Some(Join::Gated) => {
            // The products of both are combined row by row.
            let each = at_once / blocks.len() as u32;
            let most = blocks.iter().copied().max().unwrap_or(0);
            (each > 0).then(|| steps(most, each).map(|run| vec![run; blocks.len()]).collect())
        }
        _ if at_once == 0 => None,
        _ => {
            let cut = |member: usize, run: Range<u32>| {
                let mut cut = vec![0..0; blocks.len()];
                cut[member] = run;
                cut
            };
            let of = |(member, &end): (usize, &u32)| steps(end, at_once).map(move |run| cut(member, run));
            Some(blocks.iter().enumerate().flat_map(of).collect())
        }
    }
}

impl Widening<'_> {
    fn join(&self) -> Option<Join> {
        self.weights.joined.as_ref().map(|joined| joined.join)
    }

    /// All row blocks, as many at a time as possible; `None` if they cannot be divided.
    fn cuts(&self, at_once: u32) -> Option<Vec<Cut>> {
        let (members, _) = self.weights.params_of(self.part);
        let blocks: Vec<u32> = members.iter().map(MatrixParams::row_blocks).collect();
        let tiles = members.iter().map(|member| member.col_tiles).max().unwrap_or(0);
        cuts(self.join(), &blocks, tiles, at_once)
    }

    /// Multiply-adds with the row blocks of `cut`.
    fn work(&self, cut: &Cut) -> u64 {
        let (members, _) = self.weights.params_of(self.part);
        let of =
            |(member, run): (&MatrixParams, &Range<u32>)| member.first_row_blocks(run.len() as u32).weights();
        members.iter().zip(cut).map(of).sum::<u64>().saturating_mul(self.tokens)
    }

    fn run(&self, cut: &Cut) -> Result<Option<Run>, GpuError> {
        let Self { room, weights, part, .. } = *self;
        let (mut members, _) = weights.params_of(part);
        let mut wide = Vec::new();
        let vectors = raw::row_block_bytes(weights.format.dtype(), weights.matrix.cols) as u32 / 16;
        let mut blocks = 0;
        for (member, run) in members.iter_mut().zip(cut) {
            let count = run.len() as u32;
            if count == 0 {
                // No workgroup is beyond this block.
                member.first_block = u32::MAX;
                continue;
            }
            *member = member.skip_row_blocks(run.start, weights.format).first_row_blocks(count);
            member.wide_at = blocks * vectors;
            wide.push(member.widened(member.wide_at));
            if self.join().is_some() {
                member.first_block = blocks;
            }
            blocks += count;
        }
        let Some(&params) = wide.first() else { return Ok(None) };
        let bytes = u64::from(blocks) * u64::from(vectors) * 16;
        let widen = self.dispatch(&members, blocks, &room.written(bytes), self.work(cut))?;
        let (widen, words) = room.read(bytes, widen);
        // A single matrix needs no joining.
        let joined = self.join().filter(|_| wide.len() > 1).map(|join| Joined { join, members: wide });
        let format = Format::raw(weights.format.dtype());
        let parts = vec![Part { payload: words, table: None, stage: part.stage, params }];
        let DeviceMatrix { matrix, grid, .. } = *weights;
        let weights = format.map(|format| DeviceMatrix { format, matrix, parts, codes: None, joined, grid });
        Ok(weights.map(|weights| Run { widen, weights }))
    }

    fn dispatch(
        &self,
        members: &[MatrixParams],
        row_blocks: u32,
        to: &Buffer,
        work: u64,
    ) -> Result<Dispatch, GpuError> {
        let Self { gpu, weights, part, .. } = *self;
        let invocations = gpu.choices().matmul.of(weights.format);
        let variant = weights.apply_words(variant(weights.format, invocations));
        let variant = match self.join() {
            Some(_) => Joined::apply(Join::Stacked, members.len() as u32, variant),
            None => variant,
        };
        let mut buffers: Vec<(u32, Bound<'_>)> = vec![(2, (&part.payload).into()), (4, to.into())];
        buffers.extend(weights.table(part).map(|table| (3, table)));
        // The number of tiles side by side, or of spans.
        let columns = members.iter().map(|member| member.col_tiles).max().unwrap_or(0);
        let workgroups = [columns, row_blocks];
        let each = work.div_ceil(workgroups.iter().map(|&count| u64::from(count.max(1))).product());
        let kernel = gpu.kernel(variant)?;
        let bound = kernel.bind_each(gpu, members, &buffers, workgroups.map(Workgroups::Fixed))?;
        Ok(bound.at_stage(part.stage).with_work(Work::AWorkgroup(each)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_widened_at_once_fits_the_room_and_a_dispatch() {
        let alone = |blocks, tiles, at_once| cuts(None, &[blocks], tiles, at_once);
        assert_eq!(alone(5, 3, 5), Some(vec![vec![0..5]]));
        assert_eq!(alone(5, 3, 2), Some(vec![vec![0..2], vec![2..4], vec![4..5]]));
        assert_eq!(alone(5, 3, 0), None);
        assert_eq!(alone(1, 65_535, 1), Some(vec![vec![0..1]]));
        assert_eq!(alone(1, 65_536, 1), None);
        let gated = |at_once| cuts(Some(Join::Gated), &[3, 3], 1, at_once);
        assert_eq!(gated(4), Some(vec![vec![0..2, 0..2], vec![2..3, 2..3]]));
        assert_eq!(gated(1), None);
        let stacked = cuts(Some(Join::Stacked), &[1, 3], 1, 2);
        assert_eq!(stacked, Some(vec![vec![0..1, 0..0], vec![0..0, 0..2], vec![0..0, 2..3]]));
    }
}
