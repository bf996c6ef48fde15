//! The executor: decoder-only transformers of the Llama family, from raw or compressed weights.
//!
//! [`Model`] holds the weights on a device. [`Session`] computes one sequence with them, and holds its KV
//! cache, activations and recorded dispatches.

mod config;
mod context;
mod economy;
mod error;
mod fields;
mod inventory;
mod joining;
mod layer;
mod load;
mod loader;
mod needs;
mod pass;
mod planned;
mod precisions;
mod reading;
mod recorded;
mod rope;
mod rope_settings;
mod runnable;
mod session;

pub use config::{ModelConfig, RopeScaling, SUPPORTED};
pub use context::ContextLimit;
pub use error::ModelError;
pub use load::{Layout, LoadOptions, Model, USUAL_CONTEXT};
pub use precisions::Precisions;
pub use runnable::require_runnable;
pub use session::{Outputs, Session};

pub use crate::gpu::CacheType;
