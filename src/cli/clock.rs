//! Measures the time of computing.

use std::time::{Duration, Instant};

use bantam::gpu::Gpu;

/// A clock that stops while kernels are compiled: that happens once, and says nothing about a model's speed.
#[derive(Debug)]
pub struct Clock {
    gpu: Gpu,
    start: Instant,
    compiled: Duration,
}

impl Clock {
    pub fn start(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), start: Instant::now(), compiled: gpu.compile_time() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        let compiling = self.gpu.compile_time().saturating_sub(self.compiled);
        self.start.elapsed().saturating_sub(compiling)
    }

    /// The time since the start. The clock starts again from now.
    pub fn lap(&mut self) -> Duration {
        let elapsed = self.elapsed();
        *self = Self::start(&self.gpu);
        elapsed
    }
}

/// Words about the compile time, for the end of a rate; empty if that time was short.
pub fn compile_words(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.05 => String::new(),
        seconds => format!(", not counting {seconds:.1} s of compiling kernels"),
    }
}
