//! Removing what nobody needs any more: left-overs of interrupted runs, and unfinished folders that are done with.
//!
//! The lock's file goes last. Were it gone before the rest, another process could begin in the same folder, and
//! would lose its files to this one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::places::{LOCK, RECORD, is_folder, names_in};
use crate::archive::{ArchiveError, disk};

/// Removes what is left of earlier runs in `unfinished`, except for the shards that are `finished` and the record
/// that says so.
pub fn clear(unfinished: &Path, finished: &BTreeSet<PathBuf>) -> Result<(), ArchiveError> {
    clear_but(unfinished, Path::new(""), finished, &[LOCK, RECORD])
}

/// Removes what is in `folder` of `unfinished`, except for files that are `finished` and those named in `kept`.
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

/// Removes `unfinished`, of which nothing is needed. It harms nobody if it stays, so a failure is told, and no more.
pub fn remove(unfinished: &Path, lock: Lock) {
    let told = |error: &dyn std::fmt::Display| {
        log::warn!("{}: cannot be removed: {error}", unfinished.display());
    };
    // First what says that something is unfinished.
    if let Err(error) = remove_if_there(&unfinished.join(RECORD)) {
        return told(&error);
    }
    if let Err(error) = clear_but(unfinished, Path::new(""), &BTreeSet::new(), &[LOCK]) {
        return told(&error);
    }
    let lock = lock.while_moved();
    match remove_if_there(&unfinished.join(LOCK)).and_then(|()| disk::remove_folder(unfinished)) {
        // Another process has begun in it since the lock went.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) => told(&error),
        Ok(()) => {}
    }
    drop(lock);
}

/// Removes record and lock from the output `path`, if the unfinished folder that has become it had them. It is
/// complete with them, too.
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
