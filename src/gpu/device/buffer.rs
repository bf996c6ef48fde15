//! Buffers that are counted.

use std::ops::Range;
use std::sync::Arc;

use super::memory::Reservation;

/// A device buffer that is counted while it lives, or a part of one.
#[derive(Debug)]
pub struct Buffer {
    raw: wgpu::Buffer,
    /// The bytes of `raw` that shaders see.
    range: Range<u64>,
    memory: Holds,
}

/// What keeps a buffer's memory.
#[derive(Debug)]
enum Holds {
    /// It is this one's own.
    Own { _reservation: Reservation },
    /// It is that of another buffer, which lives at least as long.
    Part { _of: Arc<Buffer> },
}

impl Buffer {
    pub(in crate::gpu) fn new(raw: wgpu::Buffer, reservation: Reservation) -> Self {
        reservation.taken();
        Self { range: 0..raw.size(), raw, memory: Holds::Own { _reservation: reservation } }
    }

    /// The bytes `range` of `whole`, for shaders to read: neither counted nor given back for itself. Must
    /// begin at a multiple of 256.
    pub(in crate::gpu) fn part_of(whole: &Arc<Self>, range: Range<u64>) -> Self {
        Self { raw: whole.raw.clone(), range, memory: Holds::Part { _of: whole.clone() } }
    }

    /// The buffer itself; of a part, the whole that it belongs to.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw
    }

    /// What is bound for a shader: no more than `most` bytes from byte `from` on.
    pub(in crate::gpu) fn binding(&self, from: u64, most: u64) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.raw,
            offset: self.range.start + from,
            size: wgpu::BufferSize::new((self.size() - from).min(most)),
        })
    }

    /// Whether shaders may have it as a uniform.
    pub(in crate::gpu) fn is_uniform(&self) -> bool {
        self.raw.usage().contains(wgpu::BufferUsages::UNIFORM)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Bytes that are counted for this buffer: none for a part of another.
    pub fn own_bytes(&self) -> u64 {
        match self.memory {
            Holds::Own { .. } => self.size(),
            Holds::Part { .. } => 0,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Frees the memory once the device is done with it, even if a bind group still names it.
        if matches!(self.memory, Holds::Own { .. }) {
            self.raw.destroy();
        }
    }
}
