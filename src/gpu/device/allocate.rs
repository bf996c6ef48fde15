//! Creating buffers and textures within the memory budget.

use std::borrow::Cow;

use super::buffer::Buffer;
use super::gpu::Gpu;
use super::memory::Reservation;
use super::texture::{Texel, Texture};
use crate::gpu::GpuError;

/// How often the device is waited for while others drop buffers.
const SETTLE_TRIES: usize = 8;

#[cfg_attr(not(feature = "unstable"), doc(hidden))]
impl Gpu {
    /// Makes a zeroed buffer of `size` bytes, but at least 16, so that it can always be bound.
    pub fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Result<Buffer, GpuError> {
        let size = Self::buffer_bytes(size);
        if usage.contains(wgpu::BufferUsages::STORAGE) && size > self.max_binding() {
            return Err(GpuError::BindingTooLarge {
                label: label.into(),
                wanted: size,
                limit: self.max_binding(),
            });
        }
        self.any_buffer(label, size, usage)
    }

    /// Bytes of device memory for a buffer of `size` bytes.
    pub fn buffer_bytes(size: u64) -> u64 {
        size.max(16).next_multiple_of(4)
    }

    /// Like [`Gpu::buffer`], up to the maximum size of a buffer: shaders see only [parts](Buffer::part_of) of
    /// it.
    pub(in crate::gpu) fn any_buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer, GpuError> {
        let limit = self.inner.device.limits().max_buffer_size;
        if size > limit {
            return Err(GpuError::BindingTooLarge { label: label.into(), wanted: size, limit });
        }
        let reservation = self.reserve(label, size)?;
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let raw = self.checked(label, size, || self.inner.device.create_buffer(&descriptor))?;
        Ok(Buffer::new(raw, reservation))
    }

    /// Takes bytes from the budget. If they do not fit because the device has not yet freed dropped buffers,
    /// it waits for the device. Callers that must not wait must [settle](Self::settle) first.
    pub(in crate::gpu) fn reserve(&self, label: &str, bytes: u64) -> Result<Reservation, GpuError> {
        let reservation = self.memory.reserve(label, bytes)?;
        for _ in 0..SETTLE_TRIES {
            // Callbacks run on the polling thread, which must not wait for itself.
            if !self.memory.is_crowded() || self.inner.poller.is_here() {
                break;
            }
            let done = pollster::block_on(self.done());
            done.unwrap_or(Ok(())).map_err(|why| self.lost_by(why))?;
        }
        Ok(reservation)
    }

    /// Makes a buffer that shaders read, filled with `contents`. Use it for small data such as parameters; an
    /// [`Uploader`](crate::gpu::Uploader) uploads weights.
    pub fn buffer_with(
        &self,
        label: &str,
        contents: &[u8],
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer, GpuError> {
        let buffer = self.buffer(label, contents.len() as u64, usage | wgpu::BufferUsages::COPY_DST)?;
        let mut padded = Cow::Borrowed(contents);
        if !contents.len().is_multiple_of(4) {
            padded.to_mut().resize(contents.len().next_multiple_of(4), 0);
        }
        self.write(&buffer, &padded)?;
        Ok(buffer)
    }

    /// Writes a multiple of four bytes to the start of a buffer, before anything that is submitted later. Use
    /// it for small data: wgpu stages it in its own memory, which bantam does not count.
    pub fn write(&self, buffer: &Buffer, contents: &[u8]) -> Result<(), GpuError> {
        self.checked("write", contents.len() as u64, || {
            self.inner.queue.write_buffer(buffer.raw(), 0, contents)
        })
    }

    /// Creates a texture for `len` bytes that shaders write and read as `texel`s.
    pub fn texture(&self, label: &str, len: u64, texel: Texel) -> Result<Texture, GpuError> {
        let bytes = Texture::bytes_of(len);
        let limit = Texture::most_bytes(self.device()).unwrap_or(0);
        if bytes > limit {
            return Err(GpuError::BindingTooLarge { label: label.into(), wanted: bytes, limit });
        }
        let reservation = self.reserve(label, bytes)?;
        let (raw, view) = self.checked(label, bytes, || {
            let raw = Texture::create(self.device(), label, bytes, texel);
            let view = raw.create_view(&wgpu::TextureViewDescriptor::default());
            (raw, view)
        })?;
        Ok(Texture::new(raw, view, texel, bytes, reservation))
    }
}
