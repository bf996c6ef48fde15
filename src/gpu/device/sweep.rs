//! Freeing buffers that were dropped while the device still used them.

use super::gpu::Gpu;

/// When dropped, it starts polling, so that the memory of previously dropped buffers is freed as soon as the
/// device has finished with them. It is the last field of structs with many buffers.
#[derive(Debug)]
pub struct Sweep(Gpu);

impl Sweep {
    /// For buffers of `gpu`.
    pub fn new(gpu: &Gpu) -> Self {
        Self(gpu.clone())
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.0.sweep();
    }
}
