//! One file a kernel: what it is given, how it is dispatched, and a twin on the CPU that says in
//! plain Rust what `shaders/<same name>.wgsl` computes.
//!
//! Twins of kernels that compute with floats agree with them to rounding: whether a device fuses a
//! multiplication with an addition is its own affair.

pub mod attention;
pub mod decode;
pub mod embed;
pub mod matmul;
pub mod matvec;
pub mod norm;
pub mod rope;
pub mod swiglu;

use bytemuck::{Pod, Zeroable};

use super::Variant;
use super::weights::Format;

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
    /// Zero.
    pub unused: u32,
}

/// Every variant of every kernel.
pub fn variants() -> Vec<Variant> {
    let mut all = vec![Variant::new("attention"), Variant::new("swiglu")];
    all.extend([false, true].map(norm::variant));
    all.extend([false, true].map(rope::variant));
    for format in Format::ALL {
        all.push(embed::variant(format));
        if matches!(format, Format::Dense { .. }) {
            all.push(decode::variant(format));
        }
        for bias in [false, true] {
            for accumulate in [false, true] {
                all.push(matvec::variant(format, bias, accumulate));
                all.push(matmul::variant(format, bias, accumulate));
            }
        }
    }
    all
}
