//! A folder that is filled under a temporary name and published when it is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::claim::{Claim, claim, look};
use super::contents::Contents;
use super::lock::Lock;
use super::places::{is_folder, within};
use super::record::{Record, Stage};
use super::stamp::{Stamp, spelled};
use super::{clear, replace};
use crate::archive::mode::Mode;
use crate::archive::output::{parent, sync_folder};
use crate::archive::{ArchiveError, Options, disk};

/// What to write, and from which sources.
pub struct Plan<'a> {
    /// The source folder. The output gets its permissions.
    pub source: &'a Path,
    /// Name of the operation.
    pub work: String,
    /// The stamp of each shard's source, by the shard's path.
    pub shards: BTreeMap<PathBuf, Stamp>,
    /// The complete contents of the output, shards included.
    pub contents: Contents,
}

/// A folder that is filled under a temporary name. If it is dropped before [`OutputFolder::publish`], it is
/// kept for the next run if a shard is finished, and removed otherwise.
pub struct OutputFolder<'a> {
    plan: Plan<'a>,
    unfinished: PathBuf,
    /// Path of the output, with links resolved.
    path: PathBuf,
    /// Whether the output existed at the beginning.
    was_there: bool,
    options: Options,
    record: Record,
    finished: BTreeSet<PathBuf>,
    /// `None` once there is nothing left to continue.
    lock: Option<Lock>,
}

impl<'a> OutputFolder<'a> {
    /// Begins the folder that will become `path`, or continues it.
    pub fn begin(path: &Path, options: &Options, plan: Plan<'a>) -> Result<Self, ArchiveError> {
        let work = format!("{}, bantam {}", plan.work, env!("CARGO_PKG_VERSION"));
        let sources = plan.shards.iter().map(|(name, stamp)| (spelled(name), stamp.clone())).collect();
        let Claim { path, unfinished, lock } = claim(path, options, plan.source)?;
        let mut folder = Self {
            was_there: is_folder(&path),
            options: options.clone(),
            record: Record { work, sources, stage: Stage::Filling, had_weights: false },
            finished: BTreeSet::new(),
            lock: Some(lock),
            unfinished,
            path,
            plan,
        };
        folder.finished = folder.record.finished(&folder.unfinished, &folder.plan.shards);
        if folder.was_there {
            folder.plan.contents.superseded(&folder.path, false)?;
        }
        // The old record stays until the new one replaces it. It never vouches for files that it does not
        // list.
        clear::clear(&folder.unfinished, &folder.finished)?;
        folder.record.write(&folder.unfinished)?;
        folder.make_folders()?;
        Ok(folder)
    }

    /// Where to write the file `name`.
    pub fn file(&self, name: &Path) -> PathBuf {
        self.unfinished.join(name)
    }

    /// Whether an earlier run finished the shard `name`.
    pub fn is_finished(&self, name: &Path) -> bool {
        self.finished.contains(name)
    }

    fn make_folders(&self) -> Result<(), ArchiveError> {
        for name in &self.plan.contents.folders {
            let path = self.unfinished.join(name);
            match disk::make_folder(&path, Mode::at(&self.plan.source.join(name))) {
                Err(_) if is_folder(&path) => {}
                made => made.map_err(ArchiveError::io("create the folder", &path))?,
            }
        }
        Ok(())
    }

    /// Renames the folder to its final name, or replaces the old output's contents by its own.
    pub fn publish(mut self) -> Result<(), ArchiveError> {
        // The output may have been created or filled since the beginning.
        look(&self.path, &self.options)?;
        let folders = &self.plan.contents.folders;
        folders.iter().for_each(|folder| sync_folder(&self.unfinished.join(folder)));
        sync_folder(&self.unfinished);
        match is_folder(&self.path) {
            true => self.replace()?,
            false => self.rename()?,
        }
        for name in self.plan.contents.folders.iter().rev() {
            disk::end_folder(&self.path.join(name), Mode::at(&self.plan.source.join(name)));
        }
        if !self.was_there {
            disk::end_folder(&self.path, Mode::at(self.plan.source));
        }
        Ok(())
    }

    /// Renames the folder to the output's name, which is free.
    fn rename(&mut self) -> Result<(), ArchiveError> {
        let lock = self.lock.take().and_then(Lock::while_moved);
        if let Err(error) = disk::rename(&self.unfinished, &self.path) {
            self.lock = lock;
            return Err(ArchiveError::io("rename a finished folder to", &self.path)(error));
        }
        sync_folder(parent(&self.path));
        clear::remove_own(&self.path);
        Ok(())
    }

    /// Replaces the files in the output by those in the unfinished folder.
    fn replace(&mut self) -> Result<(), ArchiveError> {
        let within = within(&self.path);
        if self.unfinished != within {
            disk::rename(&self.unfinished, &within)
                .map_err(ArchiveError::io("move a finished folder into", &self.path))?;
            self.unfinished = within;
        }
        replace::begin(&self.path, &self.plan.contents, &mut self.record)?;
        // From here on, the next run completes the replacement.
        match self.lock.take() {
            Some(lock) => replace::finish(&self.path, lock),
            None => Ok(()),
        }
    }
}

impl Drop for OutputFolder<'_> {
    fn drop(&mut self) {
        // The folder is published, or is being published.
        let Some(lock) = self.lock.take() else { return };
        if self.plan.shards.keys().any(|name| self.unfinished.join(name).is_file()) {
            log::warn!(
                "{}: kept, because it has finished files; the same command continues from there",
                self.unfinished.display()
            );
        } else {
            clear::remove(&self.unfinished, lock);
        }
    }
}
