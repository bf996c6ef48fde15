//! Files that a process keeps locked while it works, so that others can tell its unfinished files from those
//! of a process that has ended. The system releases the lock however the process ends.

use std::fs::{self, File, TryLockError};
use std::path::Path;

/// Result of trying to lock a file.
pub(super) enum Hold {
    /// This process holds the lock.
    Held,
    /// Another process holds it.
    Busy,
    /// The name no longer refers to this file: its previous owner removed or moved it.
    Gone,
    /// The file system has no locks, as some network file systems do. Other processes cannot be detected.
    Unknown,
}

/// Tries to lock `file`, which was opened at `path`.
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

/// Whether `path` still refers to `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => id(file) == id(named),
        _ => false,
    }
}

/// These systems keep the names of open files, so it is enough that something exists there.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
