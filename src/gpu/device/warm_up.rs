//! Compiling before the first use.
//!
//! Some drivers compile a kernel when its pipeline is made. Others, such as Mesa's for processors, do so when it is first
//! dispatched, and once more where a texture is of another kind. A dispatch without workgroups makes them do that and
//! nothing else, so that the time can be told apart from that of computing.

use std::time::Instant;

use super::dispatch::{Batch, Dispatch};
use super::gpu::Gpu;
use crate::gpu::GpuError;

impl Gpu {
    /// Has the driver compile those of `dispatches` that have not been submitted for a batch before, if
    /// [`Gpu::with_warm_up`] asks for it. The time counts in [`Gpu::compile_time`].
    pub(crate) async fn warm_up(&self, dispatches: &[&Dispatch], batch: Batch) -> Result<(), GpuError> {
        if !self.warms_up() {
            return Ok(());
        }
        let cold: Vec<_> = dispatches.iter().filter(|dispatch| dispatch.is_cold(batch)).collect();
        if cold.is_empty() {
            return Ok(());
        }
        // What the device is still to compute is no time of compiling.
        self.idle().await?;
        let start = Instant::now();
        self.submit("warm-up", |encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            cold.iter().for_each(|dispatch| dispatch.record_nothing(&mut pass));
        })?;
        self.idle().await?;
        self.count_compile_time(start.elapsed());
        cold.iter().for_each(|dispatch| dispatch.set_warm());
        Ok(())
    }
}
