//! Claiming an output: finding or creating its unfinished folder, and locking that.

use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::places::{LOCK, beside, is_empty_folder, is_folder, is_there, names_in, unfinished, within};
use super::state::State;
use super::{clear, replace};
use crate::archive::mode::Mode;
use crate::archive::output::refuse_no_folder;
use crate::archive::{ArchiveError, Options, disk};

/// How often to start over because another process has just finished.
const TRIES: usize = 8;

/// An output that only this process may write.
pub struct Claim {
    /// Path of the output, existing or not, with links resolved.
    pub path: PathBuf,
    /// The unfinished folder.
    pub unfinished: PathBuf,
    /// The lock of the unfinished folder.
    pub lock: Lock,
}

/// Claims the output `path`. An existing unfinished folder is continued; a new one gets the permissions of
/// `source`. A replacement that an earlier run began is completed first.
pub fn claim(path: &Path, options: &Options, source: &Path) -> Result<Claim, ArchiveError> {
    if !is_there(path) {
        refuse_no_folder(path)?;
    }
    for _ in 0..TRIES {
        replace::finish_interrupted(path)?;
        if let Some(claim) = attempt(&look(path, options)?, options, source)? {
            return Ok(claim);
        }
    }
    Err(ArchiveError::Busy { path: path.into() })
}

/// The output's path with links resolved; an error if it may not be written.
pub fn look(path: &Path, options: &Options) -> Result<PathBuf, ArchiveError> {
    if !is_there(path) {
        return Ok(path.into());
    }
    let exists = || ArchiveError::Exists { path: path.into() };
    match path.canonicalize() {
        Ok(found) if is_folder(&found) => match options.overwrite || is_empty_folder(&found) {
            true => Ok(found),
            false => Err(exists()),
        },
        _ if !options.overwrite => Err(exists()),
        _ => Err(ArchiveError::InTheWay { path: path.into() }),
    }
}

/// Claims `path`, whose links are resolved; `None` if another process changed its state meanwhile.
fn attempt(path: &Path, options: &Options, source: &Path) -> Result<Option<Claim>, ArchiveError> {
    let unfinished = unfinished(path)?;
    if State::of(path) == State::Stranded {
        take_in(path)?;
    }
    match disk::make_folder(&unfinished, Mode::at(source)) {
        Ok(()) => {}
        // A link is refused: clearing it would empty another folder.
        Err(_) if is_folder(&unfinished) => {}
        Err(source) => return Err(ArchiveError::io("create the folder", &unfinished)(source)),
    }
    let Some(lock) = Lock::take(&unfinished)? else { return Ok(None) };
    // The previous holder of the lock may have finished, or ended while it moved files into place.
    match look(path, options) {
        Ok(_) if is_folder(path) != (unfinished == within(path)) => Ok(None),
        Ok(_) if State::of(path).is_replacing() => Ok(None),
        Ok(_) => Ok(Some(Claim { path: path.into(), unfinished, lock })),
        Err(error) => {
            // It is this process's own if it contains only the lock.
            if names_in(&unfinished).is_ok_and(|names| names == [LOCK]) {
                clear::remove(&unfinished, lock);
            }
            Err(error)
        }
    }
}

/// Moves the folder that was filled beside the output `path` into the output, which was created since. If
/// that fails, as it does across disks, all files are written again.
fn take_in(path: &Path) -> Result<(), ArchiveError> {
    let beside = beside(path)?;
    let Some(lock) = Lock::take(&beside)? else { return Ok(()) };
    let lock = lock.while_moved();
    if let Err(error) = disk::rename(&beside, &within(path)) {
        let path = path.display();
        let beside = beside.display();
        log::warn!("{beside}: not used, because it cannot be moved into {path}; it can be removed: {error}");
    }
    drop(lock);
    Ok(())
}
