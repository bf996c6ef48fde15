//! Counting the bytes of device buffers. Every device buffer is counted here.

use crate::gpu::GpuError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Counts the bytes of all live buffers of a device, or of one of its shares.
///
/// Shares are for several models on one device. Bytes in use in a share are also in use in the whole, and
/// neither exceeds its budget. A share can itself have shares. Bytes that were [promised](Self::promise) to a
/// share are reserved for it while it lives, used or not.
///
/// Dropped buffers no longer count as in use, but the device keeps their memory until it has finished the
/// work submitted before: they are [leaving](Self::leaving). If a new buffer does not fit next to them,
/// bantam waits for the device.
#[derive(Debug, Default)]
pub struct Memory {
    counts: Mutex<Counts>,
    /// The memory that this is a share of.
    whole: Option<Arc<Memory>>,
}

#[derive(Debug, Default)]
struct Counts {
    used: u64,
    peak: u64,
    allocations: u64,
    budget: Option<u64>,
    /// Bytes in use, and promised bytes that shares do not use yet.
    claimed: u64,
    /// Bytes that are reserved for this share.
    promised: u64,
    /// Bytes that were dropped, but not yet covered by a [`Fence`].
    dropped: u64,
    /// Dropped bytes that a [`Fence`] covers.
    fenced: u64,
}

impl Counts {
    /// Bytes that the whole must provide for this share.
    fn claim(&self) -> u64 {
        self.claimed.max(self.promised)
    }

    /// Dropped bytes that the device may still keep.
    fn leaving(&self) -> u64 {
        self.dropped + self.fenced
    }

    /// Whether the bytes in use fit the budget only after the device has freed dropped buffers.
    fn is_crowded(&self) -> bool {
        self.leaving() > 0
            && self.budget.is_some_and(|budget| self.used.saturating_add(self.leaving()) > budget)
    }

    /// Bytes that can still be claimed, and whether a budget sets this limit.
    fn left(&self) -> (u64, bool) {
        (self.budget.unwrap_or(u64::MAX).saturating_sub(self.claimed), self.budget.is_some())
    }

    /// Claims `bytes` more if the budget allows; else returns the bytes claimed now.
    fn grow(&mut self, bytes: u64) -> Result<(), u64> {
        let sum = self.claimed.checked_add(bytes);
        let sum = sum.filter(|&sum| self.budget.is_none_or(|budget| sum <= budget));
        self.claimed = sum.ok_or(self.claimed)?;
        Ok(())
    }
}

impl Memory {
    pub(in crate::gpu) fn with_budget(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::new(Counts { budget, ..Counts::default() }), whole: None })
    }

    /// A share with a budget of `budget` bytes; `None` sets no limit other than the whole's.
    pub(in crate::gpu) fn share(self: &Arc<Self>, budget: Option<u64>) -> Arc<Self> {
        let counts = Mutex::new(Counts { budget, ..Counts::default() });
        Arc::new(Self { counts, whole: Some(self.clone()) })
    }

    /// This memory, the whole that it is a share of, and so on. Locks are taken in this order.
    fn and_wholes(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |memory| memory.whole.as_ref())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Maximum bytes in use, if there is a budget; for a share, its own.
    pub fn budget(&self) -> Option<u64> {
        self.lock().budget
    }

    /// Bytes that can still be taken, if there is a limit: the least that any budget leaves, this share's or
    /// the whole's. Bytes promised to other shares are not included.
    pub fn left(&self) -> Option<u64> {
        let counts = self.lock();
        let (own, is_own) = counts.left();
        // Promised bytes that are not claimed yet.
        let unused = counts.claim() - counts.claimed;
        let theirs = self.whole.as_ref().and_then(|whole| whole.left());
        match theirs.map(|theirs| theirs.saturating_add(unused)) {
            Some(theirs) => Some(theirs.min(own)),
            None => is_own.then_some(own),
        }
    }

    /// Reserves `bytes` of the whole for this share while it lives, including those that it uses already.
    /// `false` if the whole does not have them.
    pub fn promise(&self, bytes: u64) -> bool {
        let mut counts = self.lock();
        let Some(whole) = &self.whole else { return false };
        let (before, after) = (counts.claim(), bytes.max(counts.claimed));
        match after.checked_sub(before) {
            Some(more) if whole.claim(more, 0).is_err() => return false,
            Some(_) => {}
            None => whole.unclaim(before - after, 0, 0),
        }
        counts.promised = bytes;
        true
    }

    /// Claims `bytes` here and in the whole; `used` of them are in use from now on. If a budget does not
    /// allow it, returns the bytes that it counts, and that budget.
    fn claim(&self, bytes: u64, used: u64) -> Result<(), (u64, Option<u64>)> {
        let mut counts = self.lock();
        let before = counts.claim();
        counts.grow(bytes).map_err(|claimed| (claimed, counts.budget))?;
        if let Some(whole) = &self.whole
            && let Err(refused) = whole.claim(counts.claim() - before, used)
        {
            counts.claimed -= bytes;
            return Err(refused);
        }
        counts.used += used;
        Ok(())
    }

    /// Returns `bytes`, of which `used` were in use, here and in the whole. Of them, the device may still
    /// keep `leaving`.
    fn unclaim(&self, bytes: u64, used: u64, leaving: u64) {
        let mut counts = self.lock();
        let before = counts.claim();
        counts.claimed -= bytes;
        counts.used -= used;
        counts.dropped += leaving;
        if let Some(whole) = &self.whole {
            whole.unclaim(before - counts.claim(), used, leaving);
        }
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Bytes of dropped buffers that the device may still keep. They do not count as in use.
    pub fn leaving(&self) -> u64 {
        self.lock().leaving()
    }

    /// Whether the bytes in use fit the budget only after the device has freed dropped buffers.
    pub(in crate::gpu) fn is_crowded(&self) -> bool {
        self.lock().is_crowded() || self.whole.as_ref().is_some_and(|whole| whole.is_crowded())
    }

    /// A fence to drop when the device has finished everything submitted so far. Then the buffers dropped
    /// before it are freed.
    pub(in crate::gpu) fn fence(self: &Arc<Self>) -> Fence {
        let fenced = |memory: &Arc<Self>| {
            let mut counts = memory.lock();
            let bytes = std::mem::take(&mut counts.dropped);
            counts.fenced += bytes;
            (Arc::downgrade(memory), bytes)
        };
        Fence(self.and_wholes().map(fenced).collect())
    }

    /// The maximum of bytes in use so far.
    pub fn peak(&self) -> u64 {
        self.lock().peak
    }

    /// How many buffers have been made.
    pub fn allocations(&self) -> u64 {
        self.lock().allocations
    }

    /// Takes `bytes` from the budget until the result is dropped.
    pub(in crate::gpu) fn reserve(
        self: &Arc<Self>,
        label: &str,
        bytes: u64,
    ) -> Result<Reservation, GpuError> {
        self.claim(bytes, bytes).map_err(|(used, budget)| GpuError::OutOfMemory {
            label: label.into(),
            wanted: bytes,
            used,
            budget,
        })?;
        Ok(Reservation { memory: self.clone(), bytes, is_taken: AtomicBool::new(false) })
    }

    fn note_taken(&self) {
        let mut counts = self.lock();
        counts.peak = counts.peak.max(counts.used);
        counts.allocations += 1;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Reservations keep this alive, so nothing is in use here.
        let promised = self.lock().promised;
        if let Some(whole) = &self.whole {
            whole.unclaim(promised, 0, 0);
        }
    }
}

impl Reservation {
    /// Records that the device provided the memory, which counts for the peak from now on.
    pub(in crate::gpu) fn taken(&self) {
        self.is_taken.store(true, Ordering::Relaxed);
        self.memory.and_wholes().for_each(|memory| memory.note_taken());
    }
}

/// Bytes that are counted as in use until this is dropped.
#[derive(Debug)]
pub(in crate::gpu) struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
    /// Whether the device provided the memory.
    is_taken: AtomicBool,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let is_taken = *self.is_taken.get_mut();
        self.memory.unclaim(self.bytes, self.bytes, if is_taken { self.bytes } else { 0 });
    }
}

/// The bytes that were dropped in a share and its wholes before the device was asked to report its progress.
#[derive(Debug)]
pub(in crate::gpu) struct Fence(Vec<(Weak<Memory>, u64)>);

impl Drop for Fence {
    fn drop(&mut self) {
        for (memory, bytes) in &self.0 {
            if let Some(memory) = memory.upgrade() {
                memory.lock().fenced -= bytes;
            }
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
        assert_eq!((memory.budget(), memory.left()), (Some(100), Some(100)));
        let boundless = Memory::with_budget(None);
        assert_eq!((boundless.budget(), boundless.left()), (None, None));
        let _most = boundless.reserve("e", u64::MAX).unwrap();
        assert!(boundless.reserve("f", 1).is_err(), "numbers that overflow are too much");
    }

    #[test]
    fn what_was_dropped_is_there_until_the_device_is_done() {
        let whole = Memory::with_budget(Some(100));
        let (a, b) = (whole.share(None), whole.share(Some(60)));
        // Memory that the device never provided is not leaving.
        drop(a.reserve("never", 80).unwrap());
        assert_eq!((a.leaving(), whole.leaving()), (0, 0));
        let of_a = a.reserve("a", 80).unwrap();
        of_a.taken();
        drop(of_a);
        assert_eq!((a.used(), a.leaving(), whole.used(), whole.leaving()), (0, 80, 0, 80));
        // Leaving bytes can be reserved; if the rest is not enough, the device is waited for.
        let of_b = b.reserve("b", 20).unwrap();
        assert!(!b.is_crowded() && !whole.is_crowded());
        let more = b.reserve("b", 1).unwrap();
        assert!(b.is_crowded() && a.is_crowded() && whole.is_crowded());
        let fence = b.fence();
        of_b.taken();
        drop(of_b);
        assert_eq!((whole.leaving(), b.leaving()), (100, 20));
        drop(fence);
        assert_eq!((whole.leaving(), b.leaving(), a.leaving()), (20, 20, 80));
        assert!(!b.is_crowded());
        drop((a.fence(), b.fence()));
        assert_eq!((whole.leaving(), b.leaving(), a.leaving()), (0, 0, 0));
        // A fence keeps no promise alive.
        assert!(a.promise(70));
        let fence = a.fence();
        drop(a);
        assert_eq!(whole.left(), Some(99));
        drop((fence, more));
        // Without a budget, nothing waits.
        let boundless = Memory::with_budget(None);
        boundless.reserve("c", 10).unwrap().taken();
        assert!(boundless.leaving() == 10 && !boundless.is_crowded());
    }

    #[test]
    fn shares_keep_to_their_budget_and_to_that_of_the_whole() {
        let whole = Memory::with_budget(Some(100));
        let (a, b) = (whole.share(Some(30)), whole.share(None));
        assert_eq!((a.left(), b.left()), (Some(30), Some(100)));
        let of_a = a.reserve("a", 25).unwrap();
        assert!(matches!(a.reserve("a", 6), Err(GpuError::OutOfMemory { used: 25, budget: Some(30), .. })));
        let of_b = b.reserve("b", 75).unwrap();
        assert!(matches!(a.reserve("a", 1), Err(GpuError::OutOfMemory { used: 100, budget: Some(100), .. })));
        assert_eq!((a.left(), b.left(), whole.used()), (Some(0), Some(0), 100));
        drop((of_a, of_b));
        assert_eq!((a.used(), b.used(), whole.used(), whole.left()), (0, 0, 0, Some(100)));
    }

    #[test]
    fn what_is_promised_is_kept_from_others_while_the_share_lives() {
        let whole = Memory::with_budget(Some(100));
        let (a, b) = (whole.share(None), whole.share(None));
        assert!(a.promise(60) && !b.promise(41));
        assert_eq!((whole.left(), a.left(), b.left(), whole.used()), (Some(40), Some(100), Some(40), 0));
        // Promised bytes are available, and any share can take the rest.
        let first = a.reserve("first", 50).unwrap();
        let more = a.reserve("more", 30).unwrap();
        assert_eq!((whole.used(), whole.left(), a.left()), (80, Some(20), Some(20)));
        assert!(b.reserve("b", 21).is_err() && whole.reserve("whole", 20).is_ok());
        drop(more);
        assert_eq!((whole.used(), whole.left(), a.left()), (50, Some(40), Some(50)));
        drop(first);
        assert!(a.promise(10) && a.promise(70) && !a.promise(101));
        assert_eq!(whole.left(), Some(30));
        drop(a);
        assert_eq!((whole.left(), whole.share(None).left()), (Some(100), Some(100)));
        assert!(!whole.promise(1), "only shares are promised anything");
    }
    #[test]
    fn a_share_of_a_share_counts_in_both() {
        let whole = Memory::with_budget(Some(100));
        let outer = whole.share(Some(50));
        let (a, b) = (outer.share(None), outer.share(Some(20)));
        assert_eq!((a.left(), b.left(), outer.left()), (Some(50), Some(20), Some(50)));
        let of_a = a.reserve("a", 40).unwrap();
        of_a.taken();
        assert_eq!((a.used(), outer.used(), whole.used()), (40, 40, 40));
        assert_eq!((a.peak(), outer.peak(), outer.allocations(), whole.allocations()), (40, 40, 1, 1));
        assert!(matches!(b.reserve("b", 11), Err(GpuError::OutOfMemory { used: 40, budget: Some(50), .. })));
        assert_eq!(
            (b.used(), b.left(), whole.left()),
            (0, Some(10), Some(60)),
            "what is refused takes nothing"
        );
        // A promise holds within the outer share, and against others in the whole.
        assert!(b.promise(10) && !b.promise(11));
        assert_eq!((outer.left(), a.left(), b.left(), whole.left()), (Some(0), Some(0), Some(10), Some(50)));
        assert!(outer.promise(80) && !outer.promise(101), "by the whole alone");
        assert_eq!((whole.left(), outer.left(), b.left()), (Some(20), Some(0), Some(10)));
        drop(of_a);
        assert_eq!((outer.leaving(), whole.leaving(), outer.used()), (40, 40, 0));
        drop(a.fence());
        assert_eq!((a.leaving(), outer.leaving(), whole.leaving()), (0, 0, 0));
        drop((a, b, outer));
        assert_eq!((whole.used(), whole.left()), (0, Some(100)));
    }
}
