//! The device: adapters, kernels, buffers that are counted, and moving bytes to and from it.

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
pub use kernel::{
    Candidates, Invocations, InvocationsByStorage, Kernel, KernelChoices, NoSuchInvocations, NoSuchTarget,
    ShaderError, Target, Variant, WidenFrom,
};
pub use kernels::{CacheType, KvCache};
pub use weights::{MatrixBytes, Room, Slot, SlotKind, SlotPlace, SlotWords, WideRoom, Writing};
