//! Files that a process holds while it works, so that what a dead one has left can be told from what a living
//! one is at. The system lets go of a lock however the process ends.

use std::fs::{self, File, TryLockError};
use std::path::Path;

/// What came of the attempt to hold a file.
pub(super) enum Hold {
    /// It is ours.
    Held,
    /// Somebody else's.
    Busy,
    /// It is not what its name stands for any more: whoever held it before has removed or moved it.
    Gone,
    /// Some network file systems have no locks. Nothing is known of others then.
    Unknown,
}

/// Tries to hold `file`, which was opened at `path`.
pub(super) fn hold(file: &File, path: &Path) -> Hold {
    match file.try_lock() {
        Ok(()) if is_at(file, path) => Hold::Held,
        Ok(()) => Hold::Gone,
        Err(TryLockError::WouldBlock) => Hold::Busy,
        Err(TryLockError::Error(error)) => {
            log::debug!("cannot lock {}: {error}", path.display());
            if is_at(file, path) { Hold::Unknown } else { Hold::Gone }
        }
    }
}

/// Whether `file` is what is at `path` now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => id(file) == id(named),
        _ => false,
    }
}

/// Where open files keep their names, it is enough that there is something.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
