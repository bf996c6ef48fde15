//! Copies between buffers to measure the bandwidth of a device's memory.

use std::time::Duration;

use serde::Serialize;

use super::Bench;
use super::error::BenchError;
use super::timing::{Patience, Timing};

/// Minimum time of a run. Not every device can time copies, so the host does, and it learns of their end with
/// some delay.
const RUN: Duration = Duration::from_millis(50);

/// Maximum copies in a submission.
const MOST: u32 = 256;

/// The result of copying.
#[derive(Debug, Clone, Serialize)]
pub struct CopyFigure {
    /// Bytes of one copy.
    pub bytes: u64,
    /// The time of one copy.
    #[serde(flatten)]
    pub timing: Timing,
    /// 10⁹ bytes copied a second. Each byte is read once and written once.
    pub gb_per_s: f64,
}

impl Bench<'_> {
    /// Copies from buffer to buffer. The host times this, whatever the clock.
    pub async fn copy(&mut self) -> Result<CopyFigure, BenchError> {
        let bytes = self.effort.copied.min(self.gpu.device().limits().max_buffer_size) / 4 * 4;
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let from = self.gpu.buffer("copied", bytes, usage)?;
        let to = self.gpu.buffer("copy", bytes, usage)?;
        // Some drivers map pages to one page of zeros until the pages are written to.
        let mut copies = 1;
        self.clock
            .commands(|encoder| {
                encoder.copy_buffer_to_buffer(to.raw(), 0, from.raw(), 0, Some(bytes));
                encoder.copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, Some(bytes));
            })
            .await?;
        let mut samples = Vec::new();
        let patience = Patience::new(self.effort.runs, self.effort.figure);
        while patience.another(samples.len()) {
            self.check()?;
            let copy = |encoder: &mut wgpu::CommandEncoder| {
                (0..copies)
                    .for_each(|_| encoder.copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, Some(bytes)));
            };
            let taken = self.clock.commands(copy).await?;
            let enough = RUN.div_duration_f64(taken.max(Duration::from_micros(1)));
            if enough > 1.5 && copies < MOST {
                copies = (f64::from(copies) * enough.min(16.0)).ceil().min(f64::from(MOST)) as u32;
                continue;
            }
            samples.push(taken.as_secs_f64() / f64::from(copies));
        }
        let timing = Timing::of(samples);
        Ok(CopyFigure { bytes, timing, gb_per_s: timing.rate(bytes as f64) / 1e9 })
    }
}
