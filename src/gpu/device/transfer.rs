//! Copying bytes to and from the device through staging buffers of bounded, counted size.

use std::sync::{Arc, Mutex};

use super::bind::Bound;
use super::buffer::Buffer;
use super::gpu::Gpu;
use super::mapping::Mapping;
use super::sweep::Sweep;
use crate::gpu::GpuError;

/// Minimum and maximum bytes of one staging buffer.
const PIECE: [usize; 2] = [64 << 10, 2 << 20];
/// Number of staging buffers: while the device copies from one, the next is filled.
const SLOTS: usize = 2;

/// Copies host memory into buffers and textures of the device through two staging buffers.
pub struct Uploader {
    gpu: Gpu,
    slots: Vec<(Buffer, Option<Mapping>)>,
    piece: usize,
    next: usize,
    // The last field: it frees the staging buffers, whose mappings are still pending.
    _sweep: Sweep,
}

impl Uploader {
    /// An uploader; its staging buffers live as long as it does.
    pub fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        Self::within(gpu, u64::MAX)
    }

    /// An uploader whose staging buffers have `bytes` bytes together, if possible.
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

    /// Minimum bytes of an uploader's staging buffers.
    pub const LEAST: u64 = (PIECE[0] * SLOTS) as u64;

    /// Copies `bytes`, whose length is a multiple of four, to byte `offset` of a buffer, or whole texels to a
    /// texture.
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
                // The buffer is mapped, so only a lost device can have unmapped it.
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

/// A buffer that the device copies results to, and that the host reads.
pub struct Readback {
    buffer: Arc<Buffer>,
    /// The last requested mapping, until it is finished. The mutex is never locked; it makes the struct
    /// `Sync`, which a future alone is not.
    mapping: Mutex<Option<Mapping>>,
}

impl std::fmt::Debug for Readback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readback").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}

impl Readback {
    /// A readback buffer of `size` bytes.
    pub fn new(gpu: &Gpu, size: u64) -> Result<Self, GpuError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Ok(Self { buffer: Arc::new(gpu.buffer("readback", size, usage)?), mapping: Mutex::default() })
    }

    /// Waits until the buffer can be copied to. It is ready at once, unless a [`Readback::read`] was dropped.
    ///
    /// Cancelling a mapping and requesting it again would not do: wgpu may then grant it as soon as the
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

    /// The destination of results, for callers that record the copy themselves.
    pub(crate) fn target(&self) -> &Arc<Buffer> {
        &self.buffer
    }

    /// Copies the first `len` bytes of `source` when what was submitted so far is done, and passes them to `take`.
    pub async fn fetch<T>(
        &mut self,
        gpu: &Gpu,
        label: &str,
        source: &Buffer,
        len: u64,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, GpuError> {
        self.ready(gpu).await?;
        gpu.submit(label, |encoder| self.record(encoder, source, len))?;
        self.read(gpu, len, take).await
    }

    /// Waits for the work submitted so far and passes the first `len` bytes to `take`. If the future is
    /// dropped, the buffer can be used again once it is [ready](Self::ready).
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
        // An error means that there was nothing to unmap: the device is lost, which is reported.
        let _ = gpu.checked("unmap", 0, || self.buffer.raw().unmap());
    }
}

/// Reads the first `len` bytes of a device buffer.
pub async fn download(gpu: &Gpu, buffer: &Buffer, len: u64) -> Result<Vec<u8>, GpuError> {
    let mut readback = Readback::new(gpu, len)?;
    gpu.submit("download", |encoder| readback.record(encoder, buffer, len))?;
    readback.read(gpu, len, <[u8]>::to_vec).await
}
