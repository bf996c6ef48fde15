//! How a long operation reports its progress to the caller, and how the caller stops it.

use std::sync::Arc;

use super::ArchiveError;

/// Receives the progress of one operation. [`Progress::advance`] and [`Progress::cancelled`] may be
/// called from several threads at once. `()` ignores everything.
pub trait Progress: Sync {
    /// The operation begins and will handle `total_bytes`. `what` is a short word for people.
    fn begin(&self, total_bytes: u64, what: &str);
    /// Like `begin`, for an operation that counts other items than bytes, such as tokens.
    fn begin_count(&self, total: u64, what: &str) {
        self.begin(total, what);
    }
    /// The operation has handled `more` further bytes or items.
    fn advance(&self, more: u64);
    /// The operation has ended, successfully or not.
    fn finish(&self);
    /// Whether to stop. The operation asks every few megabytes; if so, it removes unfinished outputs and
    /// returns [`ArchiveError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Shared between an operation and an observer.
impl<P: Progress + Send + ?Sized> Progress for Arc<P> {
    fn begin(&self, total_bytes: u64, what: &str) {
        (**self).begin(total_bytes, what);
    }

    fn begin_count(&self, total: u64, what: &str) {
        (**self).begin_count(total, what);
    }

    fn advance(&self, more: u64) {
        (**self).advance(more);
    }

    fn finish(&self) {
        (**self).finish();
    }

    fn cancelled(&self) -> bool {
        (**self).cancelled()
    }
}

/// Returns an error if the caller wants to stop.
pub(super) fn check(progress: &dyn Progress) -> Result<(), ArchiveError> {
    if progress.cancelled() { Err(ArchiveError::Cancelled) } else { Ok(()) }
}

/// Runs `work`, which handles `total_bytes` bytes, between `begin` and `finish`.
pub fn reported<T, E>(
    progress: &dyn Progress,
    total_bytes: u64,
    what: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    progress.begin(total_bytes, what);
    let result = work();
    progress.finish();
    result
}
