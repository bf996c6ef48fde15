//! All measurements of a run, to be stored.

use serde::Serialize;

use super::copy::CopyFigure;
use super::decode::DecodeFigure;
use super::first_calls::FirstCall;
use super::generation::ModelFigures;
use super::machine::Machine;
use super::products::ProductCase;
use crate::gpu::{Gpu, KernelChoices};

/// A run of the benchmark, section by section; sections that were skipped are `None`.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Version of this library.
    pub bantam: &'static str,
    /// The date in UTC, such as 2026-11-21.
    pub date: String,
    /// Whether this was a short run, whose figures say little.
    pub quick: bool,
    /// The machine and the device.
    pub machine: Machine,
    /// The variants of the kernels for products.
    pub kernels: KernelChoices,
    /// The clock that timed passes: the device's (`timestamps`) or the host's (`wall`).
    pub clock: &'static str,
    /// First calls, which compile kernels.
    pub first_calls: Option<Vec<FirstCall>>,
    /// Copies from buffer to buffer.
    pub copy: Option<CopyFigure>,
    /// Decoding.
    pub decode: Option<Vec<DecodeFigure>>,
    /// Products with a vector.
    pub matvec: Option<Vec<ProductCase>>,
    /// Products with a batch.
    pub matmul: Option<Vec<ProductCase>>,
    /// A whole model.
    pub model: Option<ModelFigures>,
}

impl Record {
    /// An empty record.
    pub fn new(gpu: &Gpu, quick: bool) -> Self {
        Self {
            bantam: env!("CARGO_PKG_VERSION"),
            date: jiff::Timestamp::now().strftime("%F").to_string(),
            quick,
            machine: Machine::of(gpu),
            kernels: *gpu.choices(),
            clock: "wall",
            first_calls: None,
            copy: None,
            decode: None,
            matvec: None,
            matmul: None,
            model: None,
        }
    }
}
