//! Putting the files of a whole unfinished folder in the place of the model that was in the output.
//!
//! From the moment at which the record says [`Stage::Removing`], the way goes only forward, and it needs no source.
//! Each part can be done again from wherever it was interrupted: what is removed is found again by its name, and
//! what was moved is not in the unfinished folder any more.

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

/// Goes on from what the record says, up to the end.
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
    // A run that filled this folder beside its place may have ended before it removed these.
    clear::remove_own(path);
    clear::remove(&unfinished, lock);
    Ok(())
}

/// Brings to an end what a process began to do with the finished files of `path`, and could not because it was ended.
pub fn finish_interrupted(path: &Path) -> Result<(), ArchiveError> {
    let Ok(path) = path.canonicalize() else { return Ok(()) };
    if !State::of(&path).is_replacing() {
        return Ok(());
    }
    let Some(lock) = Lock::take(&within(&path))? else { return Ok(()) };
    // Whoever had the lock before may have finished.
    if State::of(&path).is_replacing() {
        finish(&path, lock)?;
        log::warn!(
            "{}: an interrupted run had finished all of its files; they are in place now",
            path.display()
        );
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
