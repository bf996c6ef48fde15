//! Measuring a device: what it copies, decodes and multiplies a second, and what a model makes of it.
//!
//! A [`Bench`] measures one section after the other, and each gives figures that can be printed or put
//! into a [`Record`]. All forms in which weights are kept take part in everything ([`Form::ALL`]), in turn
//! where they are compared, so that a busy machine slows all of them alike. Wherever two forms compute
//! the same, their results are compared bit for bit first: the figures of a wrong kernel are of no use.

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

/// Measures on one device, with a certain effort.
pub struct Bench<'a> {
    gpu: Gpu,
    clock: Clock,
    effort: Effort,
    /// Shown what takes long; asked between two measurements whether to stop.
    progress: &'a dyn Progress,
}

impl<'a> Bench<'a> {
    /// A bench for `gpu`, which is best opened for it alone: kernels are compiled only once, and other
    /// work on the device shows in the figures.
    pub fn new(gpu: &Gpu, effort: Effort, progress: &'a dyn Progress) -> Result<Self, GpuError> {
        Ok(Self { gpu: gpu.clone(), clock: Clock::new(gpu)?, effort, progress })
    }

    /// Whether passes are timed by the device: `timestamps`, or else `wall`.
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
