//! Moving bytes to and from the device through buffers of bounded, counted size.

use std::sync::{Arc, Mutex};

use super::bind::Bound;
use super::buffer::Buffer;
use super::gpu::Gpu;
use super::mapping::Mapping;
use super::sweep::Sweep;
use crate::gpu::GpuError;

/// Most bytes of one staging buffer, and fewest.
const PIECE: [usize; 2] = [64 << 10, 4 << 20];
/// While the device copies out of one, the next is filled.
const SLOTS: usize = 2;

/// Copies host memory into buffers and textures of the device through two staging buffers.
pub struct Uploader {
    gpu: Gpu,
    slots: Vec<(Buffer, Option<Mapping>)>,
    piece: usize,
    next: usize,
    // Last: it frees what the slots leave, which are still on their way to be written to again.
    _sweep: Sweep,
}

impl Uploader {
    /// An uploader; its staging buffers live as long as it does.
    pub fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        Self::within(gpu, u64::MAX)
    }

    /// An uploader whose staging buffers take `bytes` together, where that is possible.
    pub fn within(gpu: &Gpu, bytes: u64) -> Result<Self, GpuError> {
        let [least, most] = PIECE.map(|piece| piece as u64);
        let largest =
            gpu.device().limits().max_buffer_size / wgpu::COPY_BUFFER_ALIGNMENT * wgpu::COPY_BUFFER_ALIGNMENT;
        let piece = (bytes / SLOTS as u64 / least * least).clamp(least, most).min(largest) as usize;
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let slots = (0..SLOTS)
            .map(|_| {
                let buffer = gpu.buffer("upload staging", piece as u64, usage)?;
                let mapping = Box::pin(gpu.start_map(&buffer, wgpu::MapMode::Write, piece as u64)) as Mapping;
                Ok((buffer, Some(mapping)))
            })
            .collect::<Result<_, GpuError>>()?;
        Ok(Self { gpu: gpu.clone(), slots, piece, next: 0, _sweep: Sweep::new(gpu) })
    }

    /// The fewest bytes that an uploader's staging buffers take.
    pub const LEAST: u64 = (PIECE[0] * SLOTS) as u64;

    /// Copies `bytes`, a multiple of four of them, to byte `offset` of a buffer, or whole texels to a texture.
    pub async fn write(
        &mut self,
        to: impl Into<Bound<'_>>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), GpuError> {
        let bound = to.into();
        let most = self.piece;
        for (i, piece) in bytes.chunks(most).enumerate() {
            let (slot, mapping) = &mut self.slots[self.next];
            self.next = (self.next + 1) % SLOTS;
            if let Some(pending) = mapping {
                pending.await?;
                *mapping = None;
            }
            let gpu = &self.gpu;
            let mut view = slot
                .raw()
                .get_mapped_range_mut(..piece.len() as u64)
                // It is mapped, so only the device's end can have taken it away.
                .map_err(|error| gpu.lost_by(error.to_string()))?;
            view.copy_from_slice(piece);
            drop(view);
            slot.raw().unmap();
            let (to, len) = (offset + (i * most) as u64, piece.len() as u64);
            gpu.submit("upload", |encoder| match bound {
                Bound::Buffer { buffer, from } => {
                    encoder.copy_buffer_to_buffer(slot.raw(), 0, buffer.raw(), from + to, Some(len));
                }
                Bound::Texture(texture) => texture.record_copy(encoder, slot.raw(), to, len),
            })?;
            *mapping = Some(Box::pin(gpu.start_map(slot, wgpu::MapMode::Write, most as u64)));
        }
        Ok(())
    }
}

/// A buffer that the device copies results into and the host reads them from.
pub struct Readback {
    buffer: Arc<Buffer>,
    /// The mapping that was asked for last, until it is done with. Nobody locks it: it makes what has a
    /// readback fit to be shared between threads, which a future alone is not.
    mapping: Mutex<Option<Mapping>>,
}

impl std::fmt::Debug for Readback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readback").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}

impl Readback {
    /// Room for `size` bytes.
    pub fn new(gpu: &Gpu, size: u64) -> Result<Self, GpuError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Ok(Self { buffer: Arc::new(gpu.buffer("readback", size, usage)?), mapping: Mutex::default() })
    }

    /// Waits until the buffer can be copied into. It can at once, unless a [`Readback::read`] was
    /// dropped.
    ///
    /// A mapping that is called off instead, and asked for again, may be granted by wgpu as soon as the
    /// earlier work is done, before the later copy.
    pub async fn ready(&mut self, gpu: &Gpu) -> Result<(), GpuError> {
        let pending = self.pending();
        let Some(mapping) = pending else { return Ok(()) };
        let mapped = mapping.await;
        *pending = None;
        mapped?;
        self.unmap(gpu);
        Ok(())
    }

    /// Records a copy of the first `len` bytes of `source`. The buffer must be [ready](Self::ready).
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder, source: &Buffer, len: u64) {
        encoder.copy_buffer_to_buffer(source.raw(), 0, self.buffer.raw(), 0, Some(len));
    }

    /// What results are copied into: for whoever records the copy elsewhere.
    pub(crate) fn target(&self) -> &Arc<Buffer> {
        &self.buffer
    }

    /// Waits for the work submitted so far and gives the first `len` bytes to `take`. Where the future
    /// is dropped, the buffer can be used again once it is [ready](Self::ready).
    pub async fn read<T>(
        &mut self,
        gpu: &Gpu,
        len: u64,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, GpuError> {
        let mapping = Box::pin(gpu.start_map(&self.buffer, wgpu::MapMode::Read, len));
        let pending = self.pending();
        let mapped = pending.insert(mapping).await;
        *pending = None;
        mapped?;
        let view = self.buffer.raw().get_mapped_range(..len).map_err(|error| gpu.lost_by(error.to_string()));
        let result = view.map(|view| take(&view));
        self.unmap(gpu);
        result
    }

    fn pending(&mut self) -> &mut Option<Mapping> {
        self.mapping.get_mut().unwrap_or_else(|e| e.into_inner())
    }

    fn unmap(&self, gpu: &Gpu) {
        // An error means that there was nothing to unmap: the device is lost, and that is told.
        let _ = gpu.checked("unmap", 0, || self.buffer.raw().unmap());
    }
}

/// Reads the first `len` bytes of a device buffer.
pub async fn download(gpu: &Gpu, buffer: &Buffer, len: u64) -> Result<Vec<u8>, GpuError> {
    let mut readback = Readback::new(gpu, len)?;
    gpu.submit("download", |encoder| readback.record(encoder, buffer, len))?;
    readback.read(gpu, len, <[u8]>::to_vec).await
}
