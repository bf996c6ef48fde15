//! Training on compressed weights.
//!
//! A [`Trainer`] has a model's weights on a device and changes them, step by step: each [`Batch`] of sequences gives a
//! loss and its gradients, and an [`Optimizer`] changes the weights. [`data`] makes sequences of files. A [`TrainingRun`]
//! has all of it, with validation and checkpoints.
//!
//! [`twin`] computes the same in F64 on the CPU.

mod batch;
mod checkpoint;
pub mod data;
mod error;
mod fuse;
mod initial;
mod log;
mod lora;
mod optimizer;
mod options;
mod plain_model;
mod plan;
mod run;
mod state;
mod step;
mod trainable;
mod trainer;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod twin;
mod weights;

pub use batch::Batch;
pub use error::TrainError;
pub use fuse::fuse;
pub use initial::write_initial_weights;
pub use log::LogEntry;
pub use lora::LoraOptions;
pub use optimizer::{Decay, MomentsDtype, Optimizer, Rounding, Schedule, UpdateOptions};
pub use options::TrainOptions;
pub use plan::TrainPlan;
pub use run::{RunOptions, TrainingRun};
pub use trainer::{StepReport, Trainer};
