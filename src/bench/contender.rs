//! One form of a matrix in a comparison.

use std::time::Duration;

use super::error::BenchError;
use super::form::{Form, Original};
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Batch, Clock, Dispatch, Gpu, GpuError, Uploader};

/// Maximum repetitions in a pass.
const MOST: f64 = 256.0;

/// How often a pass repeats a kernel: once at first, then as often as fits the target time of a pass.
pub(super) struct Repeats {
    pass: Duration,
    count: usize,
    warm: bool,
}

impl Repeats {
    pub fn new(pass: Duration) -> Self {
        Self { pass, count: 1, warm: false }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Seconds of one repetition; `None` for the first run, which is not counted.
    pub fn each(&mut self, taken: Duration) -> Option<f64> {
        let each = taken.as_secs_f64() / self.count as f64;
        if self.warm {
            return Some(each);
        }
        self.warm = true;
        self.count = (self.pass.as_secs_f64() / each.max(1e-9)).clamp(1.0, MOST) as usize;
        None
    }
}

/// Copies of one matrix in one form, on the device.
pub(super) struct Copies {
    pub form: Form,
    pub weights: Vec<DeviceMatrix>,
}

impl Copies {
    /// Uploads `count` copies; `None` if the matrix cannot have this form.
    pub async fn upload(
        gpu: &Gpu,
        uploader: &mut Uploader,
        form: Form,
        of: &Original<'_>,
        count: usize,
    ) -> Result<Option<Self>, BenchError> {
        let mut weights = Vec::with_capacity(count);
        for _ in 0..count {
            match form.upload(gpu, uploader, of).await? {
                Some(matrix) => weights.push(matrix),
                None => return Ok(None),
            }
        }
        Ok(Some(Self { form, weights }))
    }
}

/// A form with its dispatches of one kernel, and its times so far.
pub(super) struct Contender {
    pub form: Form,
    /// Bytes of one copy.
    pub weight_bytes: u64,
    pub samples: Vec<f64>,
    /// For each copy, the dispatches of its parts.
    dispatches: Vec<Vec<Dispatch>>,
    next: usize,
    repeats: Repeats,
}

impl Contender {
    /// `bind` makes the dispatches of one copy.
    pub fn new(
        copies: &Copies,
        pass: Duration,
        bind: impl Fn(&DeviceMatrix) -> Result<Vec<Dispatch>, GpuError>,
    ) -> Result<Self, GpuError> {
        Ok(Self {
            form: copies.form,
            weight_bytes: copies.weights.first().map_or(0, DeviceMatrix::bytes),
            samples: Vec::new(),
            dispatches: copies.weights.iter().map(bind).collect::<Result<_, _>>()?,
            next: 0,
            repeats: Repeats::new(pass),
        })
    }

    /// Runs one pass. It starts with the copy after the last one of the pass before.
    pub async fn run(&mut self, clock: &mut Clock, tokens: usize) -> Result<Duration, GpuError> {
        let batch = Batch { tokens: tokens as u32, outputs: 1 };
        let turns = self.next..self.next + self.repeats.count();
        let parts = turns.clone().flat_map(|i| &self.dispatches[i % self.dispatches.len()]);
        let taken = clock.dispatches(parts, batch).await?;
        self.next = turns.end % self.dispatches.len();
        self.samples.extend(self.repeats.each(taken));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_filled_after_the_first_run() {
        let mut repeats = Repeats::new(Duration::from_millis(20));
        assert_eq!((repeats.count(), repeats.each(Duration::from_millis(3))), (1, None));
        assert_eq!((repeats.count(), repeats.each(Duration::from_millis(12))), (6, Some(0.002)));
        let mut long = Repeats::new(Duration::from_millis(20));
        assert_eq!((long.each(Duration::from_secs(1)), long.count()), (None, 1));
    }
}
