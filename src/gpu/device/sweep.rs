//! Freeing what was dropped while the device still had work with it.

use super::gpu::Gpu;

/// Sees, when it is dropped, that the memory of buffers which were dropped before is freed as soon as the
/// device is done with them. It is the last field of what has many buffers.
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
