//! Adapters in the form of PEFT: `adapter_config.json` and `adapter_model.safetensors`
//! (<https://huggingface.co/docs/peft/developer_guides/checkpoint>).

mod read;
mod target;

pub use read::{Adapter, AdapterPair};
pub use target::AdapterTarget;

#[cfg(feature = "runtime")]
pub(crate) use read::{CONFIG, WEIGHTS, tensor_name};
