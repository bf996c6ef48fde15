//! Buffers that count against the budget.

use std::ops::Range;
use std::sync::Arc;

use super::memory::Reservation;

/// A device buffer, or a part of one. Its memory is counted until it is dropped.
#[derive(Debug)]
pub struct Buffer {
    raw: wgpu::Buffer,
    /// The bytes of `raw` that shaders see.
    range: Range<u64>,
    memory: Holds,
}

/// The owner of a buffer's memory.
#[derive(Debug)]
enum Holds {
    /// This buffer owns its memory.
    Own { _reservation: Reservation },
    /// The memory belongs to another buffer, which lives at least as long.
    Part { _of: Arc<Buffer> },
}

impl Buffer {
    pub(in crate::gpu) fn new(raw: wgpu::Buffer, reservation: Reservation) -> Self {
        reservation.taken();
        Self { range: 0..raw.size(), raw, memory: Holds::Own { _reservation: reservation } }
    }

    /// The bytes `range` of `whole`, for shaders to read. The part is neither counted nor freed separately.
    /// Must begin at a multiple of 256.
    pub(crate) fn part_of(whole: &Arc<Self>, range: Range<u64>) -> Self {
        Self { raw: whole.raw.clone(), range, memory: Holds::Part { _of: whole.clone() } }
    }

    /// The wgpu buffer; for a part, that of the whole.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw
    }

    /// The binding for a shader: at most `most` bytes from byte `from` on.
    pub(in crate::gpu) fn binding(&self, from: u64, most: u64) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.raw,
            offset: self.range.start + from,
            size: wgpu::BufferSize::new((self.size() - from).min(most)),
        })
    }

    /// Whether shaders may use it as a uniform.
    pub(in crate::gpu) fn is_uniform(&self) -> bool {
        self.raw.usage().contains(wgpu::BufferUsages::UNIFORM)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Bytes that are counted for this buffer: none for a part.
    pub fn own_bytes(&self) -> u64 {
        match self.memory {
            Holds::Own { .. } => self.size(),
            Holds::Part { .. } => 0,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Frees the memory once the device has finished with it, even if a bind group still refers to it.
        if matches!(self.memory, Holds::Own { .. }) {
            self.raw.destroy();
        }
    }
}
