//! Everything that was measured, to be kept.

use serde::Serialize;

use super::copy::CopyFigure;
use super::decode::DecodeFigure;
use super::first_calls::FirstCall;
use super::generation::ModelFigures;
use super::machine::Machine;
use super::products::ProductCase;
use crate::gpu::{Gpu, KernelChoices};

/// A run of the bench, section by section; those that were left out are `None`.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Version of this library.
    pub bantam: &'static str,
    /// The day, in UTC: 2026-11-21.
    pub date: String,
    /// Whether it was a short run, whose figures say little.
    pub quick: bool,
    /// What it ran on.
    pub machine: Machine,
    /// Which variants the kernels of products have.
    pub kernels: KernelChoices,
    /// How passes were timed: `timestamps` of the device, or `wall`.
    pub clock: &'static str,
    /// Compiling kernels.
    pub first_calls: Option<Vec<FirstCall>>,
    /// Copying from buffer to buffer.
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
    /// A record with nothing in it yet.
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
