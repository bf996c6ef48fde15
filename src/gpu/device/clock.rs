//! Measuring how long the device takes.

use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::dispatch::{Batch, Dispatch};
use super::gpu::Gpu;
use super::transfer::Readback;
use crate::gpu::GpuError;

/// Bytes of two timestamps.
const STAMPS: u64 = 16;

/// Times dispatches by the device's own timestamps if it was opened with them, else from the submission until the
/// host is notified that it has ended.
#[derive(Debug)]
pub struct Clock {
    gpu: Gpu,
    queries: Option<wgpu::QuerySet>,
    stamps: Buffer,
    readback: Readback,
}

impl Clock {
    /// A clock for dispatches on `gpu`.
    pub fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("clock"), ty: wgpu::QueryType::Timestamp, count: 2 };
        let queries = match gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => Some(gpu.checked("clock", STAMPS, || gpu.device().create_query_set(&descriptor))?),
            false => None,
        };
        // Without timestamps these bytes stay zero, and only the time of their arrival is used.
        let mut usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        if queries.is_some() {
            usage |= wgpu::BufferUsages::QUERY_RESOLVE;
        }
        let stamps = gpu.buffer("clock", STAMPS, usage)?;
        Ok(Self { gpu: gpu.clone(), queries, stamps, readback: Readback::new(gpu, STAMPS)? })
    }

    /// Whether dispatches are timed by the device.
    pub fn has_timestamps(&self) -> bool {
        self.queries.is_some()
    }

    /// Runs dispatches and returns how long they took together. Impossible timestamps (a driver's mistake)
    /// disable them from then on.
    pub async fn dispatches<'a>(
        &mut self,
        dispatches: impl IntoIterator<Item = &'a Dispatch>,
        batch: Batch,
    ) -> Result<Duration, GpuError> {
        self.readback.ready(&self.gpu).await?;
        let began = Instant::now();
        self.gpu.submit("timed dispatches", |encoder| {
            Dispatch::record_timed(encoder, dispatches, batch, self.queries.as_ref());
            if let Some(queries) = &self.queries {
                encoder.resolve_query_set(queries, 0..2, self.stamps.raw(), 0);
            }
            self.readback.record(encoder, &self.stamps, STAMPS);
        })?;
        let stamps = self.readback.read(&self.gpu, STAMPS, bytemuck::pod_collect_to_vec::<u8, u64>).await?;
        let wall = began.elapsed();
        if self.queries.is_none() {
            return Ok(wall);
        }
        let ticks = stamps[1].saturating_sub(stamps[0]) as f64;
        let taken =
            Duration::from_secs_f64(ticks * f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9);
        if taken.is_zero() || taken > wall {
            log::warn!(
                "timestamps are not used: the device reports {taken:?} for dispatches that took {wall:?}"
            );
            self.queries = None;
            return Ok(wall);
        }
        Ok(taken)
    }

    /// Runs commands that are no dispatches and returns the time until the host is notified that they have ended.
    pub async fn commands(
        &mut self,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<Duration, GpuError> {
        self.readback.ready(&self.gpu).await?;
        let began = Instant::now();
        self.gpu.submit("timed commands", |encoder| {
            encode(encoder);
            self.readback.record(encoder, &self.stamps, STAMPS);
        })?;
        self.readback.read(&self.gpu, STAMPS, |_| ()).await?;
        Ok(began.elapsed())
    }
}
