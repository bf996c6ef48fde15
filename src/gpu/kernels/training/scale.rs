//! Multiplies numbers, where they are.

use bytemuck::{Pod, Zeroable};

use super::elements::workgroups;
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant};

/// `Scaling` of `shaders/training/scale.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct ScaleParams {
    elements: u32,
    by: f32,
    unused: [u32; 2],
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("scale")
}

/// Multiplies so many elements of `x` by a number.
pub fn dispatch(gpu: &Gpu, elements: usize, by: f32, x: &Buffer) -> Result<Dispatch, GpuError> {
    let params = ScaleParams { elements: elements as u32, by, unused: [0; 2] };
    gpu.kernel(variant())?.bind(gpu, &params, &[(2, x)], workgroups(elements))
}

/// The twin.
pub fn cpu(x: &mut [f64], by: f64) {
    x.iter_mut().for_each(|x| *x *= by);
}
