//! One file a kernel: what it is given, how it is dispatched, and a twin on the CPU that says in
//! plain Rust what `shaders/<same name>.wgsl` computes.
//!
//! Twins of kernels that compute with floats agree with them to rounding: whether a device fuses a
//! multiplication with an addition is its own affair.

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
pub mod transcode;
mod variants;
pub mod widen;

use bytemuck::{Pod, Zeroable};

pub use self::kv_cache::{CacheType, KvCache};
pub use self::variants::{offered, variants};

/// `Step` of `shaders/shared/step.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// Tokens in this batch.
    pub tokens: u32,
    /// Position of the first.
    pub position: u32,
    /// First token of the batch whose logits are wanted.
    pub first_output: u32,
    /// Which rank of the last token's logits bounds those that [`top`] finds.
    pub rank: u32,
}
