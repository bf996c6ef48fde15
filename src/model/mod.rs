//! The executor: decoder-only transformers of the Llama family, from raw or compressed weights.
//!
//! [`Model`] holds the weights on a device. [`Session`] computes one sequence with them, and holds its KV
//! cache, activations and recorded dispatches.

mod adapter;
mod compute;
mod config;
mod context_limit;
mod error;
mod family;
mod files;
mod loading;
mod plan;
mod shape;
mod weights;

pub use adapter::{Adapter, AdapterPair, AdapterTarget};
#[cfg(feature = "runtime")]
pub(crate) use adapter::{
    CONFIG as ADAPTER_CONFIG, WEIGHTS as ADAPTER_WEIGHTS, tensor_name as adapter_tensor_name,
};
pub use compute::session::Session;
pub use config::model_config::ModelConfig;
pub use config::rope_settings::RopeScaling;
pub use context_limit::ContextLimit;
pub use error::ModelError;
pub use family::SUPPORTED;
pub use files::runnable::require_runnable;
pub use plan::options::{Layout, LoadOptions, USUAL_CONTEXT};
pub use plan::precisions::Precisions;
pub use shape::outputs::Outputs;
#[cfg(feature = "runtime")]
pub(crate) use shape::tensors::{EMBEDDING, LAST_NORM, OUTPUT, layer_name, products, tensor_shapes};
pub use weights::model::Model;
#[cfg(feature = "runtime")]
pub(crate) use weights::rotations::rotations;

pub use crate::gpu::CacheType;
