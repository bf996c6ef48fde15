//! The one place where device buffers are made, and counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::GpuError;

/// Counts the bytes of all live buffers of a device.
#[derive(Debug, Default)]
pub struct Memory {
    used: AtomicU64,
    peak: AtomicU64,
    allocations: AtomicU64,
    /// `u64::MAX` where there is none.
    budget: AtomicU64,
}

impl Memory {
    pub(super) fn with_budget(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { budget: AtomicU64::new(budget.unwrap_or(u64::MAX)), ..Self::default() })
    }

    /// The most bytes that may be in use, if that is limited.
    pub fn budget(&self) -> Option<u64> {
        Some(self.budget.load(Ordering::Relaxed)).filter(|&budget| budget < u64::MAX)
    }

    /// Allows no more than `budget` bytes from now on, where more were allowed before. What is in use
    /// already stays.
    pub fn lower_budget(&self, budget: u64) {
        self.budget.fetch_min(budget, Ordering::Relaxed);
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes ever in use at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// How many buffers have been made.
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// Takes `bytes` from the budget; they are given back when the result is dropped.
    pub(super) fn reserve(self: &Arc<Self>, label: &str, bytes: u64) -> Result<Reservation, GpuError> {
        let budget = self.budget.load(Ordering::Relaxed);
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= budget);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|used| {
            GpuError::OutOfMemory { label: label.into(), wanted: bytes, used, budget: self.budget() }
        })?;
        Ok(Reservation { memory: self.clone(), bytes })
    }
}

impl Reservation {
    /// The device gave the memory: it counts for the peak from now on.
    fn taken(&self) {
        self.memory.peak.fetch_max(self.memory.used(), Ordering::Relaxed);
        self.memory.allocations.fetch_add(1, Ordering::Relaxed);
    }
}

/// Bytes that are counted as in use until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

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
    pub(super) fn new(raw: wgpu::Buffer, reservation: Reservation) -> Self {
        reservation.taken();
        Self { range: 0..raw.size(), raw, memory: Holds::Own { _reservation: reservation } }
    }

    /// The bytes `range` of `whole`, for shaders to read: neither counted nor given back for itself. Must
    /// begin at a multiple of 256.
    pub(super) fn part_of(whole: &Arc<Self>, range: Range<u64>) -> Self {
        Self { raw: whole.raw.clone(), range, memory: Holds::Part { _of: whole.clone() } }
    }

    /// The buffer itself; of a part, the whole that it belongs to.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw
    }

    /// What is bound for a shader.
    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.raw,
            offset: self.range.start,
            size: wgpu::BufferSize::new(self.size()),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_the_budget_holds() {
        let memory = Memory::with_budget(Some(100));
        let a = memory.reserve("a", 60).unwrap();
        assert!(matches!(memory.reserve("b", 41), Err(GpuError::OutOfMemory { used: 60, .. })));
        let b = memory.reserve("b", 40).unwrap();
        a.taken();
        b.taken();
        drop((a, b));
        assert!(memory.reserve("c", u64::MAX).is_err());
        assert_eq!((memory.used(), memory.peak(), memory.allocations()), (0, 100, 2));
        memory.lower_budget(50);
        memory.lower_budget(70);
        assert!(memory.reserve("d", 51).is_err() && memory.reserve("d", 50).is_ok());
        assert_eq!((memory.budget(), Memory::with_budget(None).budget()), (Some(50), None));
    }
}
