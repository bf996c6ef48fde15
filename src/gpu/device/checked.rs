//! Calling wgpu with its errors caught, and detecting device loss.

use super::gpu::Gpu;
use crate::gpu::GpuError;

impl Gpu {
    /// Runs `call` with wgpu's errors caught, for a buffer or another object of `size` bytes.
    pub(in crate::gpu) fn checked<T>(
        &self,
        label: &str,
        size: u64,
        call: impl FnOnce() -> T,
    ) -> Result<T, GpuError> {
        let validation = self.inner.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.inner.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let result = call();
        // On native platforms these futures are ready at once.
        let internal = pollster::block_on(internal.pop());
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        self.check_lost()?;
        if memory.is_some() {
            let used = self.memory.used();
            return Err(GpuError::OutOfMemory { label: label.into(), wanted: size, used, budget: None });
        }
        match internal.or(validation) {
            Some(error) if self.is_gone() => Err(self.lost_by(error.to_string())),
            Some(error) => Err(GpuError::Validation(format!("{label}: {error}"))),
            None => Ok(result),
        }
    }

    /// Whether the device was lost without a report: wgpu then returns invalid buffers, and rejects commands
    /// that use them. Mapping a new buffer at once reveals that.
    fn is_gone(&self) -> bool {
        let device = &self.inner.device;
        let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];
        let [validation, memory] = scopes.map(|filter| device.push_error_scope(filter));
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        let is_mapped = buffer.get_mapped_range_mut(..).is_ok();
        let has_memory = pollster::block_on(memory.pop()).is_none();
        let _ = pollster::block_on(validation.pop());
        has_memory && !is_mapped
    }

    /// Returns an error if the device is known to be lost.
    pub fn check_lost(&self) -> Result<(), GpuError> {
        match &*self.inner.lost.lock().unwrap_or_else(|e| e.into_inner()) {
            Some(message) => Err(GpuError::DeviceLost(message.clone())),
            None => Ok(()),
        }
    }

    /// Records that a mapping failed, which only a lost device can cause.
    pub(in crate::gpu) fn lost_by(&self, why: String) -> GpuError {
        let mut lost = self.inner.lost.lock().unwrap_or_else(|e| e.into_inner());
        GpuError::DeviceLost(lost.get_or_insert(why).clone())
    }
}
