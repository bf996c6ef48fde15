//! A place in device memory that is filled again and again from the host, and read by shaders in
//! between.

use std::ops::Range;
use std::sync::Arc;

use super::device::Gpu;
use super::error::GpuError;
use super::memory::Buffer;
use super::transfer::Mapping;

/// Device memory that the host fills while other work runs.
///
/// Where host and device share their memory, the host writes to the very buffer that shaders read.
/// Elsewhere it writes to a second one beside it, and the device copies.
#[derive(Debug)]
pub struct Slot {
    device: Arc<Buffer>,
    staging: Option<Arc<Buffer>>,
    size: u64,
}

impl Slot {
    /// `count` slots of `size` bytes, which may be more than a binding: shaders read parts of them.
    ///
    /// Where the device copies, all have the same buffer for shaders: copies and shaders take turns in one
    /// queue, so that a second one would not be filled any sooner.
    pub fn several(gpu: &Gpu, count: usize, size: u64) -> Result<Vec<Self>, GpuError> {
        let storage = wgpu::BufferUsages::STORAGE;
        let size = Gpu::buffer_bytes(size);
        if Self::is_shared(gpu) {
            let usage = storage | wgpu::BufferUsages::MAP_WRITE;
            let slot = || {
                let device = Arc::new(gpu.any_buffer("slot", size, usage)?);
                Ok(Self { device, staging: None, size })
            };
            return (0..count).map(|_| slot()).collect();
        }
        let device = Arc::new(gpu.any_buffer("slot", size, storage | wgpu::BufferUsages::COPY_DST)?);
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let slot = || {
            let staging = Some(Arc::new(gpu.any_buffer("slot staging", size, usage)?));
            Ok(Self { device: device.clone(), staging, size })
        };
        (0..count).map(|_| slot()).collect()
    }

    /// Whether slots of this device are written to directly.
    fn is_shared(gpu: &Gpu) -> bool {
        gpu.device().features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS)
            && matches!(
                gpu.device().adapter_info().device_type,
                wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu
            )
    }

    /// Buffers of a slot's size that several slots take beside one for each.
    pub fn buffers_beside(gpu: &Gpu) -> u64 {
        if Self::is_shared(gpu) { 0 } else { 1 }
    }

    /// What shaders read.
    pub fn device(&self) -> &Arc<Buffer> {
        &self.device
    }

    /// Asks for leave to write, which is given once all that was submitted so far is done with the slot.
    /// Nothing that reads the slot may be submitted before [`Writing::finish`].
    pub fn start_writing(&self, gpu: &Gpu) -> Writing {
        let buffer = self.staging.as_ref().unwrap_or(&self.device).clone();
        let mapping = gpu.start_map(&buffer, wgpu::MapMode::Write, self.size);
        Writing { gpu: gpu.clone(), buffer, mapping: Some(Box::pin(mapping)), ended: false }
    }

    /// Records what brings the first `len` bytes that were written to where shaders read them.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder, len: u64) {
        if let Some(staging) = &self.staging {
            encoder.copy_buffer_to_buffer(staging.raw(), 0, self.device.raw(), 0, Some(len));
        }
    }
}

/// Leave to write to a slot. It ends when this is dropped.
pub struct Writing {
    gpu: Gpu,
    buffer: Arc<Buffer>,
    mapping: Option<Mapping>,
    ended: bool,
}

impl Writing {
    /// Waits until the slot can be written to.
    pub async fn granted(&mut self) -> Result<(), GpuError> {
        match &mut self.mapping {
            Some(mapping) => {
                let granted = mapping.await;
                self.mapping = None;
                granted
            }
            None => Ok(()),
        }
    }

    /// Writes `bytes`, a multiple of four of them, from byte `start` of the slot on, a multiple of four.
    /// Leave must have been [granted](Self::granted).
    pub fn write(&mut self, start: u64, bytes: &[u8]) -> Result<(), GpuError> {
        // Views begin at multiples of eight.
        let before = start % wgpu::MAP_ALIGNMENT;
        let mut view = self.room().view(start - before..start + bytes.len() as u64)?;
        view.slice(before as usize..).copy_from_slice(bytes);
        Ok(())
    }

    /// What several threads can write to at a time. Leave must have been [granted](Self::granted), and ends after
    /// this does.
    pub fn room(&self) -> Room<'_> {
        Room { gpu: &self.gpu, buffer: &self.buffer }
    }

    /// Ends the writing; an error where the device did not take it.
    pub fn finish(mut self) -> Result<(), GpuError> {
        let ended = self.end();
        ended.map_err(|error| match error {
            GpuError::DeviceLost(_) => error,
            other => self.gpu.lost_by(other.to_string()),
        })
    }

    fn end(&mut self) -> Result<(), GpuError> {
        self.ended = true;
        self.mapping = None;
        self.gpu.checked("unmap", 0, || self.buffer.raw().unmap())
    }
}

/// A slot that leave was given to write to.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    gpu: &'a Gpu,
    buffer: &'a Buffer,
}

impl Room<'_> {
    /// The bytes `range` of the slot, to be written piece by piece. It begins at a multiple of eight and ends at one
    /// of four, and nobody else has a view of any of it.
    pub fn view(&self, range: Range<u64>) -> Result<wgpu::BufferViewMut, GpuError> {
        let view = self.buffer.raw().get_mapped_range_mut(range);
        // Leave was given, so only the device's end can have taken it away.
        view.map_err(|error| self.gpu.lost_by(error.to_string()))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.ended {
            // An error means that there was nothing to unmap.
            let _ = self.end();
        }
    }
}
