//! Benchmarks a device: how fast it copies, decodes and multiplies, and how fast it runs a model.
//!
//! A [`Bench`] measures one section after the other. Each section returns figures that can be printed or put
//! into a [`Record`]. Every section covers all forms of weights ([`Form::ALL`]). Forms that are compared run
//! in turn, so that a busy machine slows all of them alike. If two forms compute the same thing, their
//! results are compared bit for bit first: figures of a wrong kernel are useless.

mod calibration;
mod contender;
mod copy;
mod decode;
mod effort;
mod error;
mod first_calls;
mod forecast;
mod form;
mod generation;
mod machine;
mod outcome;
mod products;
mod record;
mod synthetic;
mod timing;
mod weights;

pub use calibration::{Calibration, Trial};
pub use copy::CopyFigure;
pub use decode::DecodeFigure;
pub use effort::Effort;
pub use error::BenchError;
pub use first_calls::FirstCall;
pub use forecast::Forecast;
pub use form::Form;
pub use generation::{FormFigure, FormOfModel, ModelFigures};
pub use machine::Machine;
pub use outcome::Outcome;
pub use products::{ProductCase, ProductFigure};
pub use record::Record;
pub use synthetic::{SIZES, Size};
pub use timing::Timing;

use crate::archive::{ArchiveError, Progress};
use crate::gpu::{Clock, Gpu, GpuError};

/// Benchmarks one device with the given effort.
pub struct Bench<'a> {
    gpu: Gpu,
    clock: Clock,
    effort: Effort,
    /// Shows the progress of long measurements, and is asked between two of them whether to stop.
    progress: &'a dyn Progress,
}

impl<'a> Bench<'a> {
    /// A benchmark of `gpu`. Open the device for this alone: a device compiles kernels only once, and other
    /// work on it distorts the figures.
    pub fn new(gpu: &Gpu, effort: Effort, progress: &'a dyn Progress) -> Result<Self, GpuError> {
        Ok(Self { gpu: gpu.clone(), clock: Clock::new(gpu)?, effort, progress })
    }

    /// The clock that times passes: the device's (`timestamps`) or the host's (`wall`).
    pub fn clock(&self) -> &'static str {
        if self.clock.has_timestamps() { "timestamps" } else { "wall" }
    }

    fn check(&self) -> Result<(), BenchError> {
        match self.progress.cancelled() {
            true => Err(ArchiveError::Cancelled.into()),
            false => Ok(()),
        }
    }
}
