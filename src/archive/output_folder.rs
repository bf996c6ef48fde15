//! A folder of outputs that appears under its name when it is complete, and is gone on with after an
//! interruption.
//!
//! The folder `m-bantam` is filled as `.m-bantam.bantam-partial` beside it. A record in there says
//! which source each shard is made from. A shard that was finished, from a source that is still the
//! same, is not made again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::output::{OutputFile, parent, refuse_existing, sync_folder};
use super::{ArchiveError, Options};
use crate::codec::checksum;

/// What the name of an unfinished folder ends with.
const UNFINISHED: &str = ".bantam-partial";
/// The record's name in it.
const RECORD: &str = ".bantam-record.json";
/// Locked while somebody works in it. The system unlocks it however the process ends.
const LOCK: &str = ".bantam-lock";
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

const REPLACE: Options = Options { overwrite: true, ..Options::DEFAULT };

/// Whether a file of this name is one of those that unfinished folders have.
pub(super) fn is_own(name: &str) -> bool {
    [RECORD, LOCK].contains(&name)
}

/// What tells whether a source is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    path: PathBuf,
    bytes: u64,
    /// Nanoseconds since 1970; `None` where the system has no such time.
    modified: Option<u64>,
    /// XXH3 of the file's header.
    header: u64,
}

impl Stamp {
    /// The stamp of the safetensors file at `path`, which begins with `header`.
    pub fn of(path: &Path, header: &[u8]) -> Result<Self, ArchiveError> {
        let read = ArchiveError::io("read", path);
        let (path, meta) = path
            .canonicalize()
            .and_then(|path| fs::metadata(&path).map(|meta| (path, meta)))
            .map_err(read)?;
        let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok());
        Ok(Self { path, bytes: meta.len(), modified, header: checksum(header) })
    }
}

/// What is being done, by which version, and from which source each shard is made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    work: String,
    sources: BTreeMap<String, Stamp>,
}

/// A folder that is filled under a temporary name beside its final one. Dropped before
/// [`OutputFolder::publish`], it is kept for the next time if a shard is finished, and removed otherwise.
pub(super) struct OutputFolder {
    partial: PathBuf,
    path: PathBuf,
    options: Options,
    record: Record,
    finished: Vec<String>,
    lock: Option<File>,
}

impl OutputFolder {
    /// Begins the folder that will be `path`, or goes on with it. `work` names what is done, and
    /// `sources` what each shard is made from.
    pub fn begin(
        path: &Path,
        options: &Options,
        work: &str,
        sources: BTreeMap<String, Stamp>,
    ) -> Result<Self, ArchiveError> {
        if !is_empty_folder(path) {
            refuse_existing(path, options)?;
        }
        let partial = partial_path(path)?;
        match fs::create_dir(&partial) {
            Ok(()) => {}
            // Not a link: somebody else's folder is not ours to clear.
            Err(_) if fs::symlink_metadata(&partial).is_ok_and(|meta| meta.is_dir()) => {}
            Err(source) => return Err(ArchiveError::io("create the folder", &partial)(source)),
        }
        let lock = lock(&partial)?;
        let work = format!("{work}, bantam {}", env!("CARGO_PKG_VERSION"));
        let record = Record { work, sources };
        let finished = finished(&partial, &record);
        let folder =
            Self { partial, path: path.into(), options: *options, record, finished, lock: Some(lock) };
        folder.clear()?;
        let json = serde_json::to_vec_pretty(&folder.record).map_err(std::io::Error::from);
        let output = OutputFile::create(&folder.partial.join(RECORD), &REPLACE)?;
        output.sink().put(0, &json.map_err(ArchiveError::io("write", &folder.partial))?)?;
        output.publish()?;
        Ok(folder)
    }

    /// Where to write a file of this name.
    pub fn file(&self, name: &Path) -> PathBuf {
        self.partial.join(name)
    }

    /// Whether the shard of this name was finished in an earlier run.
    pub fn is_finished(&self, name: &str) -> bool {
        self.finished.iter().any(|finished| finished == name)
    }

    /// Removes what is left of earlier runs, but for finished shards.
    fn clear(&self) -> Result<(), ArchiveError> {
        let refused = || ArchiveError::io("clear the folder", &self.partial);
        for entry in fs::read_dir(&self.partial).map_err(refused())? {
            let name = entry.map_err(refused())?.file_name();
            let kept = name == LOCK || name.to_str().is_some_and(|name| self.is_finished(name));
            if !kept {
                fs::remove_file(self.partial.join(&name)).map_err(refused())?;
            }
        }
        Ok(())
    }

    /// Gives the folder its name. Into a folder that is there already, allowed by the options,
    /// the files are moved one by one; others in it stay.
    pub fn publish(mut self) -> Result<(), ArchiveError> {
        let (partial, path) = (self.partial.clone(), self.path.clone());
        let refused = || ArchiveError::io("rename a finished folder to", &path);
        // It may have come to be since the beginning.
        if !is_empty_folder(&path) {
            refuse_existing(&path, &self.options)?;
        }
        // From here on there is nothing to go on with, and some systems rename no folder in which a
        // file is open.
        self.lock = None;
        for name in [RECORD, LOCK] {
            fs::remove_file(partial.join(name)).map_err(refused())?;
        }
        sync_folder(&partial);
        if is_empty_folder(&path) {
            fs::remove_dir(&path).map_err(refused())?;
        }
        if !path.exists() {
            fs::rename(&partial, &path).map_err(refused())?;
            sync_folder(parent(&path));
            return Ok(());
        }
        for entry in fs::read_dir(&partial).map_err(refused())? {
            let entry = entry.map_err(refused())?;
            fs::rename(entry.path(), path.join(entry.file_name())).map_err(refused())?;
        }
        fs::remove_dir(&partial).map_err(refused())?;
        sync_folder(&path);
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // Published, or being so.
        if self.lock.take().is_none() {
            return;
        }
        if self.record.sources.keys().any(|name| self.partial.join(name).is_file()) {
            let partial = self.partial.display();
            log::warn!("{partial}: kept, because it has finished files; the same command goes on from there");
        } else if let Err(error) = fs::remove_dir_all(&self.partial) {
            log::warn!("{}: cannot be removed: {error}", self.partial.display());
        }
    }
}

/// The shards in `partial` that are finished and made from the same sources in the same way.
fn finished(partial: &Path, record: &Record) -> Vec<String> {
    let old: Record = fs::read(partial.join(RECORD))
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default();
    if old.work != record.work {
        return Vec::new();
    }
    // A file has its name only once it is complete and on the disk.
    let same = |(name, stamp): &(&String, &Stamp)| {
        old.sources.get(*name) == Some(*stamp) && partial.join(name).is_file()
    };
    record.sources.iter().filter(same).map(|(name, _)| name.clone()).collect()
}

fn lock(partial: &Path) -> Result<File, ArchiveError> {
    let path = partial.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(ArchiveError::io("create", &path))?;
    // A program that this process is starting holds what was locked before for a moment longer.
    let mut tries = LOCK_TRIES;
    let locked = loop {
        tries -= 1;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries > 0 => std::thread::sleep(LOCK_PAUSE),
            tried => break tried,
        }
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Busy { path: partial.into() }),
        // Some network file systems have no locks. What is at stake then is only wasted work.
        Err(TryLockError::Error(error)) => {
            log::debug!("cannot lock {}: {error}", path.display());
            Ok(file)
        }
    }
}

fn partial_path(path: &Path) -> Result<PathBuf, ArchiveError> {
    let path = match path.file_name() {
        Some(_) => path.to_path_buf(),
        None => path.canonicalize().map_err(ArchiveError::io("find", path))?,
    };
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| ArchiveError::NoDefaultName { path: path.clone() })?);
    name.push(UNFINISHED);
    Ok(path.with_file_name(name))
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
