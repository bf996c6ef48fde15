//! Workgroups of kernels with an invocation for each element.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Workgroups;

/// `Length` of `shaders/shared/elements.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Length {
    elements: u32,
    unused: [u32; 3],
}

impl Length {
    pub fn of(elements: usize) -> Self {
        Self { elements: elements as u32, unused: [0; 3] }
    }
}

/// Workgroups of 64 invocations, in rows of 256, for this many.
pub(super) fn workgroups(invocations: usize) -> [Workgroups; 2] {
    let groups = invocations.div_ceil(64) as u32;
    [groups.div_ceil(256), groups.min(256)].map(Workgroups::Fixed)
}
