//! Gradients of a gated product.

use super::elements::{Length, workgroups};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant};

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("gated_back")
}

/// Puts the gradients of so many elements of gate and up in the place of gate and up.
pub fn dispatch(gpu: &Gpu, elements: usize, [y_grad, gate, up]: [&Buffer; 3]) -> Result<Dispatch, GpuError> {
    let buffers = [(2, y_grad), (3, gate), (4, up)];
    gpu.kernel(variant())?.bind(gpu, &Length::of(elements), &buffers, workgroups(elements))
}

/// The twin.
pub fn cpu(y_grad: &[f64], gate: &mut [f64], up: &mut [f64]) {
    for ((y_grad, gate), up) in y_grad.iter().zip(gate).zip(up) {
        let sigmoid = 1.0 / (1.0 + (-*gate).exp());
        let of_gate = y_grad * *up * sigmoid * (1.0 + *gate * (1.0 - sigmoid));
        (*up, *gate) = (y_grad * *gate * sigmoid, of_gate);
    }
}
