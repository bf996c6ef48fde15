//! One file per kernel: its parameters, its dispatch, and a twin on the CPU that defines in plain Rust the
//! result of `shaders/<same name>.wgsl`.
//!
//! Kernels that compute with floats agree with their twins up to rounding, because devices may fuse a
//! multiplication with an addition.

pub mod argmax;
pub mod attention;
pub mod decode;
pub mod embed;
mod kv_cache;
pub mod matmul;
pub mod matvec;
pub mod norm;
pub mod rope;
pub mod swiglu;
pub mod top;
pub mod training;
pub mod transcode;
pub mod transcode_tiered;
mod transcoded;
mod transcoding;
mod variants;
pub mod widen;

use bytemuck::{Pod, Zeroable};

pub use self::kv_cache::{CacheType, KvCache};
pub(crate) use self::transcoded::most_bytes_beside;
pub use self::variants::{offered, variants};

/// `Step` of `shaders/shared/step.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// Tokens in this batch.
    pub tokens: u32,
    /// Position of the first of them.
    pub position: u32,
    /// First token of the batch that needs logits.
    pub first_output: u32,
    /// The rank of the last token's logits that bounds those that [`top`] finds.
    pub rank: u32,
}
