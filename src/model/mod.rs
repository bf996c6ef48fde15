//! The executor: decoder-only transformers of the Llama family, from raw or compressed weights.
//!
//! [`Model`] holds the weights on a device. [`Session`] computes one sequence with them, and holds its KV
//! cache, activations and recorded dispatches.

mod compute;
mod config;
mod error;
mod files;
mod loading;
mod plan;
mod weights;

pub use compute::context::ContextLimit;
pub use compute::session::{Outputs, Session};
pub use config::model_config::{ModelConfig, RopeScaling, SUPPORTED};
pub use error::ModelError;
pub use files::runnable::require_runnable;
pub use plan::precisions::Precisions;
pub use weights::model::{Layout, LoadOptions, Model, USUAL_CONTEXT};

pub use crate::gpu::CacheType;
