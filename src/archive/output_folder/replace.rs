//! Replacing the model in the output by the files of a complete unfinished folder.
//!
//! Once the record says [`Stage::Removing`], the replacement can only go forward, and it needs no source.
//! Each step can be repeated after an interruption: files to remove are found again by name, and files that
//! were moved are no longer in the unfinished folder.

use std::path::Path;

use super::clear;
use super::contents::Contents;
use super::lock::Lock;
use super::places::{is_folder, within};
use super::record::{Record, Stage};
use super::state::State;
use crate::archive::mode::Mode;
use crate::archive::output::sync_folder;
use crate::archive::{ArchiveError, disk};

/// Records that the files in the unfinished folder within `path` are about to replace the model in it.
pub fn begin(path: &Path, contents: &Contents, record: &mut Record) -> Result<(), ArchiveError> {
    record.had_weights = contents.superseded(path, false)?.has_weights;
    record.stage = Stage::Removing;
    record.write(&within(path))
}

/// Continues at the recorded stage and completes the replacement.
pub fn finish(path: &Path, lock: Lock) -> Result<(), ArchiveError> {
    let unfinished = within(path);
    let contents = Contents::of(&unfinished)?;
    let mut record = Record::read(&unfinished);
    if record.stage == Stage::Removing {
        remove_old(path, &contents, record.had_weights)?;
        record.stage = Stage::Moving;
        record.write(&unfinished)?;
    }
    move_new(&unfinished, path, &contents)?;
    // A run that filled this folder beside its final place may have ended before it removed these.
    clear::remove_own(path);
    clear::remove(&unfinished, lock);
    Ok(())
}

/// Completes the replacement of `path` that an interrupted process began.
pub fn finish_interrupted(path: &Path) -> Result<(), ArchiveError> {
    let Ok(path) = path.canonicalize() else { return Ok(()) };
    if !State::of(&path).is_replacing() {
        return Ok(());
    }
    let Some(lock) = Lock::take(&within(&path))? else { return Ok(()) };
    // The previous holder of the lock may have finished.
    if State::of(&path).is_replacing() {
        finish(&path, lock)?;
        log::warn!("{}: an interrupted run had finished all files; they are now in place", path.display());
    }
    Ok(())
}

fn remove_old(path: &Path, contents: &Contents, had_weights: bool) -> Result<(), ArchiveError> {
    for name in contents.superseded(path, had_weights)?.files {
        disk::remove_file(&path.join(name)).map_err(ArchiveError::io("move finished files to", path))?;
    }
    sync_folder(path);
    Ok(())
}

fn move_new(unfinished: &Path, path: &Path, contents: &Contents) -> Result<(), ArchiveError> {
    let refused = || ArchiveError::io("move finished files to", path);
    for name in &contents.folders {
        match disk::make_folder(&path.join(name), Mode::at(&unfinished.join(name))) {
            Err(_) if is_folder(&path.join(name)) => {}
            made => made.map_err(refused())?,
        }
    }
    for name in contents.in_order() {
        disk::rename(&unfinished.join(name), &path.join(name)).map_err(refused())?;
    }
    contents.folders.iter().for_each(|folder| sync_folder(&path.join(folder)));
    sync_folder(path);
    Ok(())
}
