//! The device: adapters, kernels, buffers that are counted, and moving bytes to and from it.

mod adapter;
mod choice;
mod choice_file;
mod clock;
mod device;
mod error;
pub mod fast;
pub mod format;
mod invocations;
pub mod join;
mod kernel;
pub mod kernels;
mod kv_cache;
mod matrix_params;
mod memory;
mod poller;
mod requirements;
mod shader;
mod slot;
mod sweep;
mod transfer;
pub mod weights;

pub use adapter::{adapters, name_of};
pub use choice::{InvocationsByStorage, KernelChoices};
pub use clock::Clock;
pub use device::{Gpu, GpuOptions};
pub use error::GpuError;
pub use invocations::{Invocations, NoSuchInvocations};
pub use kernel::{Batch, Bound, Dispatch, Kernel, Workgroups};
pub use kv_cache::{CacheType, KvCache};
pub use memory::{Buffer, Memory};
pub use requirements::{check_limits, least_limits, required_features, required_limits};
pub use shader::{ShaderError, Variant};
pub use slot::{Slot, Writing};
pub use sweep::Sweep;
pub use transfer::{Readback, Uploader, download};
