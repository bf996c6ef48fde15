//! A device: its adapter, its memory, moving bytes to and from it, and dispatching kernels on it.

pub(in crate::gpu) mod adapter;
pub(in crate::gpu) mod choice_file;
mod clock;
pub(in crate::gpu) mod dispatch;
mod gpu;
pub(in crate::gpu) mod memory;
mod pace;
mod poller;
mod requirements;
pub(in crate::gpu) mod rounds;
mod sweep;
pub(in crate::gpu) mod transfer;
mod warm_up;
mod work;

pub use adapter::{adapters, name_of};
pub use clock::Clock;
pub use dispatch::{Batch, Bound, Dispatch, Kernel, Workgroups};
pub use gpu::{Gpu, GpuOptions};
pub use memory::{Buffer, Memory};
pub use pace::Pace;
pub use requirements::{check_limits, least_limits, required_features, required_limits};
pub use sweep::Sweep;
pub use transfer::{Readback, Uploader, download};
pub use work::{SUBMISSION_WORK, Work};
