//! The cost of streaming so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The cost of streaming a model's stages since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Bytes that were read from files for slots. Compressed bytes are counted even if they are decoded on
    /// the way.
    pub bytes_moved: u64,
    /// Number of times that a stage was loaded into a slot.
    pub stages_moved: u64,
    /// Time that a separate thread spent on reading and copying stages, and on decoding them if they are
    /// decoded on the way.
    pub reading: Duration,
    /// Time that the device was idle because the next stage had not been loaded yet.
    pub stalled: Duration,
}

impl StreamStats {
    /// The share of the reading time in which the device computed, 0 to 1; 1 if nothing was read.
    pub fn overlap(&self) -> f64 {
        if self.reading.is_zero() {
            return 1.0;
        }
        (1.0 - self.stalled.as_secs_f64() / self.reading.as_secs_f64()).max(0.0)
    }

    /// The difference from `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            bytes_moved: self.bytes_moved.saturating_sub(before.bytes_moved),
            stages_moved: self.stages_moved.saturating_sub(before.stages_moved),
            reading: self.reading.saturating_sub(before.reading),
            stalled: self.stalled.saturating_sub(before.stalled),
        }
    }
}

/// The counts behind [`StreamStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    bytes_moved: AtomicU64,
    stages_moved: AtomicU64,
    reading_nanos: AtomicU64,
    stalled_nanos: AtomicU64,
}

impl Counters {
    pub fn moved(&self, bytes: u64, time: Duration) {
        self.bytes_moved.fetch_add(bytes, Ordering::Relaxed);
        self.stages_moved.fetch_add(1, Ordering::Relaxed);
        self.reading_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    pub fn stalled(&self, time: Duration) {
        self.stalled_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    pub fn now(&self) -> StreamStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StreamStats {
            bytes_moved: load(&self.bytes_moved),
            stages_moved: load(&self.stages_moved),
            reading: Duration::from_nanos(load(&self.reading_nanos)),
            stalled: Duration::from_nanos(load(&self.stalled_nanos)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_the_share_of_reading_that_nobody_waited_for() {
        let stats = |reading, stalled| StreamStats {
            reading: Duration::from_millis(reading),
            stalled: Duration::from_millis(stalled),
            ..StreamStats::default()
        };
        assert_eq!(stats(0, 0).overlap(), 1.0);
        assert_eq!(stats(10, 5).overlap(), 0.5);
        assert_eq!(stats(10, 20).overlap(), 0.0);
        assert_eq!(stats(10, 5).since(&stats(4, 5)), stats(6, 0));
    }
}
