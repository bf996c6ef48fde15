//! The device: adapters, kernels, buffers that are counted, and moving bytes to and from it.
//!
//! Each folder is a room, which uses those above it and no others:
//!
//! | Room | What it holds |
//! |---|---|
//! | `kernel` | A kernel before it is bound to anything: its WGSL, its variants, what a kind of device is offered, compiling. |
//! | `device` | Adapters, the [`Gpu`], counted memory, moving bytes, dispatching kernels. |
//! | [`weights`] | A matrix on a device: its layout, its parts, where they are. |
//! | [`kernels`] | One file for each kernel, with its twin. |
//!
//! `scripts/check_rooms` checks this.

mod device;
mod error;
mod kernel;
pub mod kernels;
pub mod weights;

pub use device::{
    Batch, Bound, Buffer, Clock, Dispatch, Gpu, GpuOptions, Memory, Pace, Readback, SUBMISSION_WORK, Sweep,
    Texel, Texture, Uploader, Work, Workgroups, adapters, check_limits, download, least_limits, name_of,
    required_features, required_limits,
};
pub use error::GpuError;
pub(in crate::gpu) use kernel::Choice;
pub use kernel::{
    Candidates, Invocations, InvocationsByStorage, Kernel, KernelChoices, NoSuchInvocations, NoSuchTarget,
    ShaderError, Target, Variant, WidenFrom,
};
pub use kernels::{CacheType, KvCache};
pub use weights::{MatrixBytes, Room, Slot, SlotKind, SlotPlace, SlotWords, WideRoom, Writing};
