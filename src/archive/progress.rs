//! How a long operation tells its caller where it is, and is told to stop.

use std::sync::Arc;

use super::ArchiveError;

/// Receives the progress of one operation. [`Progress::advance`] and [`Progress::cancelled`] may be
/// called from several threads at once. `()` ignores everything.
pub trait Progress: Sync {
    /// The operation begins; `total_bytes` will be handled. `what` is a short word for people.
    fn begin(&self, total_bytes: u64, what: &str);
    /// The same where it is not bytes that are handled, but tokens, say.
    fn begin_count(&self, total: u64, what: &str) {
        self.begin(total, what);
    }
    /// So many more bytes, or other things, have been handled.
    fn advance(&self, more: u64);
    /// The operation has ended, well or not.
    fn finish(&self);
    /// Asked every few megabytes: whether to stop. Unfinished outputs are then removed and the
    /// operation returns [`ArchiveError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Shared between an operation and whoever watches it.
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

/// An error where the caller wants to stop.
pub(super) fn check(progress: &dyn Progress) -> Result<(), ArchiveError> {
    if progress.cancelled() { Err(ArchiveError::Cancelled) } else { Ok(()) }
}

/// Runs `work`, which handles so many bytes, between `begin` and `finish`.
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
