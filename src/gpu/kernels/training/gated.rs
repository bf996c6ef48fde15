//! `y = silu(gate) · up`, which leaves `gate` and `up` as they are.

use super::elements::{Length, workgroups};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("gated")
}

/// Computes so many elements of `y`.
pub fn dispatch(gpu: &Gpu, elements: usize, [gate, up, y]: [&Buffer; 3]) -> Result<Dispatch, GpuError> {
    let buffers = [(2, gate), (3, up), (4, y)];
    gpu.kernel(variant())?.bind(gpu, &Length::of(elements), &buffers, workgroups(elements))
}

/// The twin.
pub fn cpu(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}
