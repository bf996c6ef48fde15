//! A device: its adapter, its memory, transfers to and from it, and dispatching kernels.
//!
//! It uses `kernel` and no other room of `gpu`.

mod adapter;
mod allocate;
mod bind;
mod buffer;
mod checked;
mod choice_file;
mod clock;
pub(in crate::gpu) mod dispatch;
mod gpu;
pub(in crate::gpu) mod mapping;
mod memory;
mod open;
mod options;
mod pace;
mod poller;
mod record;
mod requirements;
mod rounds;
mod submit;
mod sweep;
pub(in crate::gpu) mod texture;
mod transfer;
mod warm_up;
mod work;

pub use adapter::{adapters, name_of};
pub use bind::Bound;
pub use buffer::Buffer;
pub use clock::Clock;
pub use dispatch::{Batch, Dispatch, Workgroups};
pub use gpu::Gpu;
pub use memory::Memory;
pub use options::GpuOptions;
pub use pace::Pace;
pub use requirements::{check_limits, least_limits, required_features, required_limits};
pub use sweep::Sweep;
pub use texture::{Texel, Texture};
pub use transfer::{Readback, Uploader, download};
pub use work::{SUBMISSION_WORK, Work};
