//! A place in device memory that is filled again and again from the host, and read by shaders in
//! between.

use std::ops::Range;
use std::sync::Arc;

use super::words::Words;
use crate::gpu::device::mapping::Mapping;
use crate::gpu::{Buffer, Gpu, GpuError, Texel, Texture};

/// What slots hold, and in what shaders read it.
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
    /// Those whose weights a processor decodes that stands in for `gpu`: the fastest to read first.
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

    /// Bytes of a slot for stages of `len` bytes at the most; `None` where no slot is that large.
    pub fn slot_bytes(self, gpu: &Gpu, len: u64) -> Option<u64> {
        match self {
            Self::Dense | Self::Wide => Some(len),
            Self::WideTexture => len.checked_next_multiple_of(256).map(Texture::bytes_of),
        }
        .filter(|&bytes| bytes <= self.most_bytes(gpu))
    }

    /// The most bytes that a slot can have: those of a buffer, which has what the host writes in any case.
    pub fn most_bytes(self, gpu: &Gpu) -> u64 {
        let buffer = gpu.device().limits().max_buffer_size;
        match self {
            Self::Dense | Self::Wide => buffer,
            Self::WideTexture => Texture::most_bytes(gpu.device()).unwrap_or(0).min(buffer),
        }
    }

    /// Buffers or textures of a slot's size that several slots take beside one for each.
    pub fn beside(self, gpu: &Gpu) -> u64 {
        if self != Self::WideTexture && Slot::is_shared(gpu) { 0 } else { 1 }
    }
}

/// Device memory that the host fills while other work runs.
///
/// Where host and device share their memory, the host writes to the very buffer that shaders read.
/// Elsewhere, and where shaders read a texture, it writes to a second one beside it, and the device copies.
#[derive(Debug)]
pub struct Slot {
    device: SlotWords,
    staging: Option<Arc<Buffer>>,
    size: u64,
}

/// What shaders read of a slot.
#[derive(Debug, Clone)]
pub enum SlotWords {
    /// A buffer.
    Buffer(Arc<Buffer>),
    /// A texture of vectors.
    Texture(Arc<Texture>),
}

impl SlotWords {
    /// What is bound for the bytes `range`, which begin at a multiple of 256.
    pub(in crate::gpu) fn part(&self, range: Range<u64>) -> Words {
        match self {
            Self::Buffer(buffer) => Words::Buffer(Buffer::part_of(buffer, range)),
            Self::Texture(texture) => Words::InSlot(texture.clone()),
        }
    }

    /// The byte of [that](Self::part) with which what is at byte `at` of the slot begins.
    pub(in crate::gpu) fn begins(&self, at: u64) -> u64 {
        match self {
            Self::Buffer(_) => 0,
            Self::Texture(_) => at,
        }
    }
}

impl Slot {
    /// `count` slots of `size` bytes. A buffer may be more than a binding: shaders read parts of it.
    ///
    /// Where the device copies, all have the same buffer or texture for shaders: copies and shaders take turns in
    /// one queue, so that a second one would not be filled any sooner.
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

    /// Whether slots of this device are written to directly.
    fn is_shared(gpu: &Gpu) -> bool {
        gpu.device().features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS)
            && matches!(
                gpu.device().adapter_info().device_type,
                wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu
            )
    }

    /// What shaders read.
    pub fn device(&self) -> &SlotWords {
        &self.device
    }

    /// Asks for leave to write, which is given once all that was submitted so far is done with the slot.
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

    /// Whether shaders read another place than the host writes to. What was written is [copied](Self::record) there,
    /// and then the host may write again while shaders read.
    pub fn is_copied(&self) -> bool {
        self.staging.is_some()
    }

    /// Records what brings the first `len` bytes that were written to where shaders read them.
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

/// Where in a slot a matrix goes.
#[derive(Debug, Clone, Copy)]
pub struct SlotPlace<'a> {
    /// What shaders read of the slot.
    pub slot: &'a SlotWords,
    /// The byte where the matrix begins: a multiple of 256.
    pub at: u64,
    /// The streamed stage that the matrix belongs to.
    pub stage: usize,
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
