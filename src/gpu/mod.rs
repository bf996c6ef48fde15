//! The device: adapters, kernels, counted buffers, and transfers to and from the device.
//!
//! Each folder is a room. It uses only rooms above it in this table:
//!
//! | Room | What it holds |
//! |---|---|
//! | `kernel` | A kernel before it is bound to anything: its WGSL, its variants, what a kind of device is offered, compiling. |
//! | `device` | Adapters, the [`Gpu`], counted memory, moving bytes, dispatching kernels. |
//! | [`weights`] | A matrix on a device: its layout, its parts, and their memory. |
//! | [`kernels`] | One file for each kernel, with its twin. |
//!
//! `scripts/check_rooms` checks this.

mod device;
mod error;
mod kernel;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod kernels;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod weights;

#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use device::{
    Batch, Bound, Buffer, Clock, Dispatch, Pace, Readback, Sweep, Texel, Texture, Uploader, Work, Workgroups,
    download,
};
pub use device::{
    Gpu, GpuOptions, Memory, SUBMISSION_WORK, adapters, check_limits, least_limits, name_of,
    required_features, required_limits,
};
pub use error::GpuError;
pub(in crate::gpu) use kernel::Choice;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use kernel::{Candidates, Kernel, Sharing, Variant};
pub use kernel::{
    Invocations, InvocationsByStorage, KernelChoices, NoSuchInvocations, NoSuchTarget, ShaderError, Target,
    WidenFrom,
};
pub use kernels::CacheType;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use kernels::KvCache;
pub use weights::layouts::Transcoded;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub use weights::{MatrixBytes, Room, Slot, SlotKind, SlotPlace, SlotWords, WideRoom, Writing};
