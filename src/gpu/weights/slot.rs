//! Device memory that the host fills repeatedly, and that shaders read in between.

use std::ops::Range;
use std::sync::Arc;

use super::words::Words;
use crate::gpu::device::mapping::Mapping;
use crate::gpu::{Buffer, Gpu, GpuError, Texel, Texture};

/// The contents of a slot, and the kind of memory that shaders read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SlotKind {
    /// Dense tiles, as they are in files, in a buffer.
    #[default]
    Dense,
    /// Uncompressed weights in a buffer.
    Wide,
    /// Uncompressed weights in a texture.
    WideTexture,
}

impl SlotKind {
    /// The kinds for weights that a CPU decodes as a software device, fastest to read first.
    pub fn decoded_on(gpu: &Gpu) -> &'static [Self] {
        match (gpu.is_cpu(), gpu.has_textures()) {
            (true, true) => &[Self::WideTexture, Self::Wide],
            (true, false) => &[Self::Wide],
            _ => &[],
        }
    }

    /// Whether weights are decoded on their way into the slot.
    pub fn is_decoded(self) -> bool {
        self != Self::Dense
    }

    /// Bytes of a slot for stages of at most `len` bytes; `None` if no slot can be that large.
    pub fn slot_bytes(self, gpu: &Gpu, len: u64) -> Option<u64> {
        match self {
            Self::Dense | Self::Wide => Some(len),
            Self::WideTexture => len.checked_next_multiple_of(256).map(Texture::bytes_of),
        }
        .filter(|&bytes| bytes <= self.most_bytes(gpu))
    }

    /// Maximum bytes of a slot: those of a buffer, because the host always writes to a buffer.
    pub fn most_bytes(self, gpu: &Gpu) -> u64 {
        let buffer = gpu.device().limits().max_buffer_size;
        match self {
            Self::Dense | Self::Wide => buffer,
            Self::WideTexture => Texture::most_bytes(gpu.device()).unwrap_or(0).min(buffer),
        }
    }

    /// Number of extra buffers or textures of a slot's size that several slots share.
    pub fn beside(self, gpu: &Gpu) -> u64 {
        if self != Self::WideTexture && Slot::is_shared(gpu) { 0 } else { 1 }
    }
}

/// Device memory that the host fills while other work runs.
///
/// If host and device share their memory, the host writes to the buffer that shaders read. Otherwise, and if
/// shaders read a texture, it writes to a staging buffer, and the device copies.
#[derive(Debug)]
pub struct Slot {
    device: SlotWords,
    staging: Option<Arc<Buffer>>,
    size: u64,
}

/// The memory of a slot that shaders read.
#[derive(Debug, Clone)]
pub enum SlotWords {
    /// A buffer.
    Buffer(Arc<Buffer>),
    /// A texture of vectors.
    Texture(Arc<Texture>),
}

impl SlotWords {
    /// The binding for the bytes `range`, which begins at a multiple of 256.
    pub(in crate::gpu) fn part(&self, range: Range<u64>) -> Words {
        match self {
            Self::Buffer(buffer) => Words::Buffer(Buffer::part_of(buffer, range)),
            Self::Texture(texture) => Words::Shared(texture.clone()),
        }
    }

    /// The offset in [that binding](Self::part) of byte `at` of the slot.
    pub(in crate::gpu) fn begins(&self, at: u64) -> u64 {
        match self {
            Self::Buffer(_) => 0,
            Self::Texture(_) => at,
        }
    }
}

impl Slot {
    /// `count` slots of `size` bytes. A buffer may exceed a binding: shaders read parts of it.
    ///
    /// If the device copies, all slots share the buffer or texture that shaders read. Copies and shaders take
    /// turns in one queue, so a second one would not be filled any sooner.
    pub fn several(gpu: &Gpu, kind: SlotKind, count: usize, size: u64) -> Result<Vec<Self>, GpuError> {
        let storage = wgpu::BufferUsages::STORAGE;
        let size = Gpu::buffer_bytes(size);
        if kind.beside(gpu) == 0 {
            let usage = storage | wgpu::BufferUsages::MAP_WRITE;
            let slot = || {
                let device = SlotWords::Buffer(Arc::new(gpu.any_buffer("slot", size, usage)?));
                Ok(Self { device, staging: None, size })
            };
            return (0..count).map(|_| slot()).collect();
        }
        let device = match kind {
            SlotKind::WideTexture => {
                SlotWords::Texture(Arc::new(gpu.texture("slot", size, Texel::Vector)?))
            }
            SlotKind::Dense | SlotKind::Wide => {
                let usage = storage | wgpu::BufferUsages::COPY_DST;
                SlotWords::Buffer(Arc::new(gpu.any_buffer("slot", size, usage)?))
            }
        };
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let slot = || {
            let staging = Some(Arc::new(gpu.any_buffer("slot staging", size, usage)?));
            Ok(Self { device: device.clone(), staging, size })
        };
        (0..count).map(|_| slot()).collect()
    }

    /// Whether the host writes to this device's slots directly.
    fn is_shared(gpu: &Gpu) -> bool {
        gpu.device().features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS)
            && matches!(
                gpu.device().adapter_info().device_type,
                wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu
            )
    }

    /// The memory that shaders read.
    pub fn device(&self) -> &SlotWords {
        &self.device
    }

    /// Requests write access, which is granted once all work submitted so far has finished with the slot.
    /// Nothing that reads the slot may be submitted before [`Writing::finish`].
    pub fn start_writing(&self, gpu: &Gpu) -> Writing {
        let buffer = match (&self.staging, &self.device) {
            (Some(staging), _) => staging.clone(),
            (None, SlotWords::Buffer(buffer)) => buffer.clone(),
            (None, SlotWords::Texture(_)) => unreachable!("textures have a buffer beside them"),
        };
        let mapping = gpu.start_map(&buffer, wgpu::MapMode::Write, self.size);
        Writing { gpu: gpu.clone(), buffer, mapping: Some(Box::pin(mapping)), ended: false }
    }

    /// Whether shaders read other memory than the host writes to. After the data is [copied](Self::record),
    /// the host may write again while shaders read.
    pub fn is_copied(&self) -> bool {
        self.staging.is_some()
    }

    /// Records the copy of the first `len` bytes that were written to the memory that shaders read, if
    /// necessary.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder, len: u64) {
        let Some(staging) = &self.staging else { return };
        match &self.device {
            SlotWords::Buffer(device) => {
                encoder.copy_buffer_to_buffer(staging.raw(), 0, device.raw(), 0, Some(len));
            }
            SlotWords::Texture(texture) => texture.record_copy(encoder, staging.raw(), 0, len),
        }
    }
}

/// The place of a matrix in a slot.
#[derive(Debug, Clone, Copy)]
pub struct SlotPlace<'a> {
    /// The memory of the slot that shaders read.
    pub slot: &'a SlotWords,
    /// Byte offset of the matrix in the slot: a multiple of 256.
    pub at: u64,
    /// The streamed stage that the matrix belongs to.
    pub stage: usize,
}

/// Write access to a slot. It ends when this is dropped.
pub struct Writing {
    gpu: Gpu,
    buffer: Arc<Buffer>,
    mapping: Option<Mapping>,
    ended: bool,
}

impl Writing {
    /// Waits for write access.
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

    /// Writes `bytes` at byte `start` of the slot. Both the length and `start` must be multiples of four.
    /// Access must have been [granted](Self::granted).
    pub fn write(&mut self, start: u64, bytes: &[u8]) -> Result<(), GpuError> {
        // Mapped views begin at multiples of eight.
        let before = start % wgpu::MAP_ALIGNMENT;
        let mut view = self.room().view(start - before..start + bytes.len() as u64)?;
        view.slice(before as usize..).copy_from_slice(bytes);
        Ok(())
    }

    /// The slot's memory, which several threads can write to. Access must have been [granted](Self::granted),
    /// and ends after this does.
    pub fn room(&self) -> Room<'_> {
        Room { gpu: &self.gpu, buffer: &self.buffer }
    }

    /// Ends the access; an error if the device rejects the data.
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

/// A slot with granted write access.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    gpu: &'a Gpu,
    buffer: &'a Buffer,
}

impl Room<'_> {
    /// A view of the bytes `range` of the slot, to be written piece by piece. It begins at a multiple of
    /// eight and ends at a multiple of four. It must not overlap any other view.
    pub fn view(&self, range: Range<u64>) -> Result<wgpu::BufferViewMut, GpuError> {
        let view = self.buffer.raw().get_mapped_range_mut(range);
        // Access was granted, so only a lost device can have revoked it.
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
