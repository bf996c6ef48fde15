//! Recording dispatches in an encoder.

use super::dispatch::{Batch, Dispatch};

impl Dispatch {
    /// Records dispatches for `batch`, in order, with the copies that belong to them. A compute pass holds all
    /// of them up to the next copy.
    pub fn record_all<'a>(
        encoder: &mut wgpu::CommandEncoder,
        dispatches: impl IntoIterator<Item = &'a Self>,
        batch: Batch,
    ) {
        Self::record_timed(encoder, dispatches, batch, None);
    }

    /// The same, with the times at which the first pass begins and the last one ends.
    pub(super) fn record_timed<'a>(
        encoder: &mut wgpu::CommandEncoder,
        dispatches: impl IntoIterator<Item = &'a Self>,
        batch: Batch,
        queries: Option<&wgpu::QuerySet>,
    ) {
        let all: Vec<&Self> = dispatches.into_iter().collect();
        let passes: Vec<_> = all.chunk_by(|before, _| before.copy().is_none()).collect();
        for (i, dispatches) in passes.iter().enumerate() {
            let (is_first, is_last) = (i == 0, i + 1 == passes.len());
            let writes =
                queries.filter(|_| is_first || is_last).map(|query_set| wgpu::ComputePassTimestampWrites {
                    query_set,
                    beginning_of_pass_write_index: is_first.then_some(0),
                    end_of_pass_write_index: is_last.then_some(1),
                });
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: writes };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            dispatches.iter().for_each(|dispatch| dispatch.record(&mut pass, batch));
            drop(pass);
            if let Some(copy) = dispatches.last().and_then(|last| last.copy()) {
                copy.record(encoder);
            }
        }
    }
}
