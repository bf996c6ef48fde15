//! The one place where device buffers are made, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::GpuError;

/// Counts the bytes of all live buffers of a device.
#[derive(Debug, Default)]
pub struct Memory {
    used: AtomicU64,
    peak: AtomicU64,
    allocations: AtomicU64,
    budget: Option<u64>,
}

impl Memory {
    pub(super) fn with_budget(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { budget, ..Self::default() })
    }

    /// The most bytes that may be in use, if that is limited.
    pub fn budget(&self) -> Option<u64> {
        self.budget
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
        let budget = self.budget.unwrap_or(u64::MAX);
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= budget);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|used| {
            GpuError::OutOfMemory { label: label.into(), wanted: bytes, used, budget: self.budget }
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

/// A device buffer that is counted while it lives.
#[derive(Debug)]
pub struct Buffer {
    raw: wgpu::Buffer,
    _reservation: Reservation,
}

impl Buffer {
    pub(super) fn new(raw: wgpu::Buffer, reservation: Reservation) -> Self {
        reservation.taken();
        Self { raw, _reservation: reservation }
    }

    /// The buffer itself.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.raw.size()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Frees the memory once the device is done with it, even if a bind group still names it.
        self.raw.destroy();
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
    }
}
