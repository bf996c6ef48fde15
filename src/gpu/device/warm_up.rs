//! Compiling kernels before their first use.
//!
//! Some drivers compile a kernel when its pipeline is created. Others, such as Mesa's for CPUs, compile it at
//! its first dispatch, and again for another kind of texture. A dispatch without workgroups makes them
//! compile and compute nothing, so that compile time can be measured separately.

use std::time::Instant;

use super::dispatch::{Batch, Dispatch};
use super::gpu::Gpu;
use crate::gpu::GpuError;

impl Gpu {
    /// Makes the driver compile those of `dispatches` that have never been submitted for a batch, if
    /// [`Gpu::with_warm_up`] requests it. The time counts in [`Gpu::compile_time`].
    pub(crate) async fn warm_up(&self, dispatches: &[&Dispatch], batch: Batch) -> Result<(), GpuError> {
        if !self.warms_up() {
            return Ok(());
        }
        let cold: Vec<_> = dispatches.iter().filter(|dispatch| dispatch.is_cold(batch)).collect();
        if cold.is_empty() {
            return Ok(());
        }
        // Pending computations must not count as compile time.
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
