//! Removing left-overs of interrupted runs, and unfinished folders that are no longer needed.
//!
//! The lock file is removed last. If it were removed earlier, another process could begin in the same folder,
//! and this one would delete its files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::places::{LOCK, RECORD, is_folder, names_in};
use crate::archive::{ArchiveError, disk};

/// Removes what earlier runs left in `unfinished`, except `finished` shards and the record that vouches for
/// them.
pub fn clear(unfinished: &Path, finished: &BTreeSet<PathBuf>) -> Result<(), ArchiveError> {
    clear_but(unfinished, Path::new(""), finished, &[LOCK, RECORD])
}

/// Clears the sub-folder `folder` of `unfinished`, except for `finished` files and those named in `kept`.
fn clear_but(
    unfinished: &Path,
    folder: &Path,
    finished: &BTreeSet<PathBuf>,
    kept: &[&str],
) -> Result<(), ArchiveError> {
    for name in names_in(&unfinished.join(folder))? {
        if kept.iter().any(|kept| name == *kept) {
            continue;
        }
        let name = folder.join(name);
        let path = unfinished.join(&name);
        if finished.contains(&name) {
            continue;
        }
        let removed = match is_folder(&path) {
            true if finished.iter().any(|finished| finished.starts_with(&name)) => {
                clear_but(unfinished, &name, finished, &[])?;
                Ok(())
            }
            true => disk::remove_tree(&path),
            false => disk::remove_file(&path),
        };
        removed.map_err(ArchiveError::io("clear the folder", &path))?;
    }
    Ok(())
}

/// Removes `unfinished`, which is no longer needed. Leaving it is harmless, so a failure is only logged.
pub fn remove(unfinished: &Path, lock: Lock) {
    let told = |error: &dyn std::fmt::Display| {
        log::warn!("{}: cannot be removed: {error}", unfinished.display());
    };
    // Remove the file first that marks the output as unfinished.
    if let Err(error) = remove_if_there(&unfinished.join(RECORD)) {
        return told(&error);
    }
    if let Err(error) = clear_but(unfinished, Path::new(""), &BTreeSet::new(), &[LOCK]) {
        return told(&error);
    }
    let lock = lock.while_moved();
    match remove_if_there(&unfinished.join(LOCK)).and_then(|()| disk::remove_folder(unfinished)) {
        // Another process has begun in this folder since the lock was released.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) => told(&error),
        Ok(()) => {}
    }
    drop(lock);
}

/// Removes the record and lock from the output `path` if they are left from its unfinished folder. The output
/// is complete even with them.
pub fn remove_own(path: &Path) {
    for name in [RECORD, LOCK] {
        let path = path.join(name);
        if let Err(error) = remove_if_there(&path) {
            log::warn!("{}: cannot be removed: {error}", path.display());
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match disk::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
