//! A folder of outputs that appears under its name when it is complete, and is gone on with after an
//! interruption.
//!
//! An output that is not there yet, `m-bantam`, is filled as `.m-bantam.bantam-partial` beside it. One that is
//! there (empty, of a mounted disk, the current folder, or replaced by `--force`) is filled as `.bantam-partial` in
//! it, which is sure to be on the same disk. All that could forbid the end is looked at in the beginning.
//!
//! A record in the unfinished folder says which source each shard is made from. A shard that was finished, from a
//! source that is still the same, is not made again. A lock keeps others out; whoever gets it looks whether it is
//! still the lock of this folder, and whether the output is still what it was.
//!
//! ```text
//! Filling ──▶ beside: renamed to the output ──────────────────────▶ record and lock removed
//!         └─▶ within: Removing (old weights go) ──▶ Moving (new files come) ──▶ record and lock removed
//! ```
//!
//! The record has the state. Up to the end of `Filling` nothing that can be seen from outside has changed, and the
//! next run goes on. From `Removing` on the output is neither the old one nor the new one: every command refuses to
//! read it ([`refuse_unfinished`]), and the next run that writes it first brings the rest about, for which it needs
//! no source. Other programs find no weights in these moments, and never some old and some new: configurations and
//! lists of shards come last. Record and lock are removed when all else is done.
//!
//! What goes is the old model: its weights in either form, its lists of shards and the files that describe it. Other
//! files stay. Where there are weights that are of no known set, nobody knows whose they are, and nothing is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::locked::{Hold, hold};
use super::mode::{self, Mode};
use super::output::{OutputFile, UNFINISHED, parent, refuse_no_folder, sync_folder};
use super::shard_index::{self, is_of_a_set};
use super::{ArchiveError, Options, names};
use crate::codec::checksum;

/// The record's name in an unfinished folder.
const RECORD: &str = ".bantam-record.json";
/// Bytes of the longest record that is read.
const MAX_RECORD: u64 = 256 << 20;
/// Locked while somebody works in it.
const LOCK: &str = ".bantam-lock";
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// How often to begin anew because another process has just finished.
const TRIES: usize = 8;

const REPLACE: Options = Options { overwrite: true, ..Options::DEFAULT };

/// Files besides weights that belong to one model, and would be wrong beside the weights of another.
const DESCRIPTIONS: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
];

/// Whether something of this name is left by a run that was interrupted, or is being written, and no part of a model.
pub(super) fn is_own(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // Temporary files of the first version.
    let was_own = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".partial"));
    let was_own = was_own.is_some_and(|own| own.len() == 6 && own.bytes().all(|b| b.is_ascii_alphanumeric()));
    [RECORD, LOCK].contains(&&*name) || (name.starts_with('.') && name.ends_with(UNFINISHED)) || was_own
}

/// An error where `folder` was being replaced when that was interrupted, so that it is neither of two models.
pub(super) fn refuse_unfinished(folder: &Path) -> Result<(), ArchiveError> {
    match Record::read(&within(folder)).state {
        State::Filling => Ok(()),
        State::Removing | State::Moving => Err(ArchiveError::Unfinished { path: folder.into() }),
    }
}

/// What tells whether a source is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    path: String,
    bytes: u64,
    /// Nanoseconds since 1970; `None` where the system has no such time.
    modified: Option<u64>,
    /// What the system says that nobody can set: when and which file. `None` where it has no such thing.
    #[serde(default)]
    changed: Option<(i64, i64, u64)>,
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
        let changed = changed(&meta);
        Ok(Self { path: spelled(&path), bytes: meta.len(), modified, changed, header: checksum(header) })
    }
}

/// When a file was last changed in any way, and its number.
#[cfg(unix)]
fn changed(meta: &Metadata) -> Option<(i64, i64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.ctime(), meta.ctime_nsec(), meta.ino()))
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> Option<(i64, i64, u64)> {
    None
}

/// `path` as text: different texts for different paths, whatever their bytes.
fn spelled(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

/// How far a folder has come. See the first lines of this file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Filling,
    Removing,
    Moving,
}

/// What is being done, by which version, and from which source each shard is made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    work: String,
    sources: BTreeMap<String, Stamp>,
    #[serde(default)]
    state: State,
}

impl Record {
    /// The record in `unfinished`; an empty one where there is none.
    fn read(unfinished: &Path) -> Self {
        let path = unfinished.join(RECORD);
        // Nobody's link, nor a pipe that somebody has put there.
        let is_ours = |path: &Path| {
            is_folder(unfinished)
                && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_RECORD)
        };
        let json = is_ours(&path).then(|| fs::read(&path).ok()).flatten();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    fn write(&self, unfinished: &Path) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let output = OutputFile::create(&unfinished.join(RECORD), &REPLACE, None)?;
        output.sink().put(0, &json.map_err(ArchiveError::io("write", unfinished))?)?;
        output.publish()
    }

    /// The shards in `unfinished` that are finished and made from the same sources in the same way.
    fn finished(&self, unfinished: &Path, names: &BTreeMap<PathBuf, Stamp>) -> BTreeSet<PathBuf> {
        let old = Self::read(unfinished);
        if old.work != self.work {
            return BTreeSet::new();
        }
        // A file has its name only once it is complete and on the disk.
        let same = |(name, stamp): &(&PathBuf, &Stamp)| {
            old.sources.get(&spelled(name)) == Some(*stamp) && unfinished.join(name).is_file()
        };
        names.iter().filter(same).map(|(name, _)| name.clone()).collect()
    }
}

/// What will be in a folder. All paths go from the folder on.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Files and links.
    pub files: BTreeSet<PathBuf>,
    /// Folders, but for the folder itself.
    pub folders: BTreeSet<PathBuf>,
}

impl Contents {
    /// What is in `unfinished`.
    fn of(unfinished: &Path) -> Result<Self, ArchiveError> {
        let mut contents = Self::default();
        let mut unread = vec![PathBuf::new()];
        while let Some(folder) = unread.pop() {
            for name in names_in(&unfinished.join(&folder))?.into_iter().filter(|name| !is_own(name)) {
                let name = folder.join(name);
                if is_folder(&unfinished.join(&name)) {
                    contents.folders.insert(name.clone());
                    unread.push(name);
                } else {
                    contents.files.insert(name);
                }
            }
        }
        Ok(contents)
    }

    /// What in `path` is of the model that these replace, weights before all else; an error where something cannot
    /// be replaced.
    fn superseded(&self, path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
        let in_the_way = |name: &Path| Err(ArchiveError::InTheWay { path: path.join(name) });
        if let Some(name) = self.files.iter().find(|name| is_folder(&path.join(name))) {
            return in_the_way(name);
        }
        let is_no_folder = |name: &&PathBuf| !is_folder(&path.join(name)) && is_there(&path.join(name));
        if let Some(name) = self.folders.iter().find(is_no_folder) {
            return in_the_way(name);
        }
        let (mut weights, mut descriptions) = (Vec::new(), Vec::new());
        let folders = std::iter::once(Path::new("")).chain(self.folders.iter().map(PathBuf::as_path));
        for folder in folders.filter(|folder| is_folder(&path.join(folder))) {
            let here = path.join(folder);
            let lists = shard_index::all_in(&here).unwrap_or_default();
            for name in names_in(&here)? {
                let (at, text) = (folder.join(&name), name.to_string_lossy());
                if is_own(&name) || is_folder(&here.join(&name)) {
                    continue;
                }
                let original = names::original_name(&text).unwrap_or_else(|| text.to_string());
                let is_listed = || lists.iter().any(|list| list.shards().contains(&original[..]));
                if is_of_a_set(&text) || self.has_a_form_of(folder, &name, &original) || is_listed() {
                    weights.push(at);
                } else if names::is_tensor_file(&text) {
                    return Err(ArchiveError::WhoseWeights { path: path.join(at) });
                } else if DESCRIPTIONS.contains(&&*text) {
                    descriptions.push(at);
                }
            }
        }
        if !weights.is_empty() {
            weights.append(&mut descriptions);
        }
        Ok(weights)
    }

    /// Whether one of these is the file of tensors `name` in `folder`, or its other form.
    fn has_a_form_of(&self, folder: &Path, name: &OsStr, original: &str) -> bool {
        let compressed = names::compressed_name(original);
        let forms = [Some(name.into()), Some(original.into()), compressed.map(OsString::from)];
        names::is_tensor_file(&name.to_string_lossy())
            && forms.iter().flatten().any(|form| self.files.contains(&folder.join(form)))
    }
}

/// What is to be written, and from what.
pub(super) struct Plan<'a> {
    /// The folder that everything comes from. The output gets its permissions.
    pub source: &'a Path,
    /// What is done.
    pub work: String,
    /// What each shard is made from, by where it will be.
    pub shards: BTreeMap<PathBuf, Stamp>,
    /// All that there will be, shards included.
    pub contents: Contents,
}

/// A folder that is filled under a temporary name. Dropped before [`OutputFolder::publish`], it is kept for the next
/// time if a shard is finished, and removed otherwise.
pub(super) struct OutputFolder<'a> {
    plan: Plan<'a>,
    unfinished: PathBuf,
    /// Where the output will be, with links followed.
    path: PathBuf,
    /// Whether there was a folder before.
    was_there: bool,
    options: Options,
    record: Record,
    finished: BTreeSet<PathBuf>,
    /// `None` once there is nothing to go on with.
    lock: Option<File>,
}

impl<'a> OutputFolder<'a> {
    /// Begins the folder that will be `path`, or goes on with it.
    pub fn begin(path: &Path, options: &Options, plan: Plan<'a>) -> Result<Self, ArchiveError> {
        let work = format!("{}, bantam {}", plan.work, env!("CARGO_PKG_VERSION"));
        let sources = plan.shards.iter().map(|(name, stamp)| (spelled(name), stamp.clone())).collect();
        let (path, unfinished, lock) = begin_alone(path, options, &plan)?;
        let mut folder = Self {
            was_there: is_folder(&path),
            options: *options,
            record: Record { work, sources, state: State::Filling },
            finished: BTreeSet::new(),
            lock: Some(lock),
            unfinished,
            path,
            plan,
        };
        folder.finished = folder.record.finished(&folder.unfinished, &folder.plan.shards);
        if folder.was_there {
            folder.plan.contents.superseded(&folder.path)?;
        }
        folder.clear(Path::new(""))?;
        folder.record.write(&folder.unfinished)?;
        folder.make_folders()?;
        Ok(folder)
    }

    /// Where to write a file of this name.
    pub fn file(&self, name: &Path) -> PathBuf {
        self.unfinished.join(name)
    }

    /// Whether the shard of this name was finished in an earlier run.
    pub fn is_finished(&self, name: &Path) -> bool {
        self.finished.contains(name)
    }

    fn make_folders(&self) -> Result<(), ArchiveError> {
        for name in &self.plan.contents.folders {
            let path = self.unfinished.join(name);
            match mode::begin_folder(&path, Mode::at(&self.plan.source.join(name))) {
                Err(_) if is_folder(&path) => {}
                made => made.map_err(ArchiveError::io("create the folder", &path))?,
            }
        }
        Ok(())
    }

    /// Removes what is left of earlier runs in a folder, but for finished shards.
    fn clear(&self, folder: &Path) -> Result<(), ArchiveError> {
        for name in names_in(&self.unfinished.join(folder))? {
            let name = folder.join(name);
            let path = self.unfinished.join(&name);
            let holds_finished = || self.finished.iter().any(|finished| finished.starts_with(&name));
            if name == Path::new(LOCK) || self.is_finished(&name) {
                continue;
            }
            let removed = match is_folder(&path) {
                true if holds_finished() => {
                    self.clear(&name)?;
                    Ok(())
                }
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.map_err(ArchiveError::io("clear the folder", &path))?;
        }
        Ok(())
    }

    /// Gives the folder its name, or what is in it the place of what was in the output before.
    pub fn publish(mut self) -> Result<(), ArchiveError> {
        // It may have come to be, or been filled, since the beginning.
        look(&self.path, &self.options)?;
        let contents = &self.plan.contents;
        contents.folders.iter().for_each(|folder| sync_folder(&self.unfinished.join(folder)));
        sync_folder(&self.unfinished);
        if is_folder(&self.path) {
            let within = within(&self.path);
            if self.unfinished != within {
                fs::rename(&self.unfinished, &within)
                    .map_err(ArchiveError::io("move a finished folder into", &self.path))?;
                self.unfinished = within;
            }
            contents.superseded(&self.path)?;
            self.record.state = State::Removing;
            self.record.write(&self.unfinished)?;
            // From here on the next run brings the rest about.
            let lock = self.lock.take();
            finish(&self.unfinished, &self.path, State::Removing, lock)?;
        } else {
            // Some systems rename no folder in which a file is open.
            let lock = self.lock.take().filter(|_| cfg!(unix));
            if let Err(error) = fs::rename(&self.unfinished, &self.path) {
                self.lock = lock;
                return Err(ArchiveError::io("rename a finished folder to", &self.path)(error));
            }
            sync_folder(parent(&self.path));
            remove_own(&self.path, lock);
        }
        for name in self.plan.contents.folders.iter().rev() {
            mode::end_folder(&self.path.join(name), Mode::at(&self.plan.source.join(name)));
        }
        if !self.was_there {
            mode::end_folder(&self.path, Mode::at(self.plan.source));
        }
        Ok(())
    }
}

impl Drop for OutputFolder<'_> {
    fn drop(&mut self) {
        // Published, or being so.
        if self.lock.is_none() {
            return;
        }
        let unfinished = self.unfinished.display();
        if self.plan.shards.keys().any(|name| self.unfinished.join(name).is_file()) {
            log::warn!(
                "{unfinished}: kept, because it has finished files; the same command continues from there"
            );
        } else if let Err(error) = fs::remove_dir_all(&self.unfinished) {
            log::warn!("{unfinished}: cannot be removed: {error}");
        }
    }
}

/// Where the output `path` is, with links followed, its unfinished folder, and the lock of that. Nobody else is at it
/// then.
fn begin_alone(
    path: &Path,
    options: &Options,
    plan: &Plan,
) -> Result<(PathBuf, PathBuf, File), ArchiveError> {
    if !is_there(path) {
        refuse_no_folder(path)?;
    }
    for _ in 0..TRIES {
        bring_about(path)?;
        let path = look(path, options)?;
        let unfinished = match is_folder(&path) {
            true => within(&path),
            false => beside(&path)?,
        };
        // One that was to be given the name before there was a folder of that name.
        if unfinished == within(&path)
            && let Ok(beside) = beside(&path)
            && is_folder(&beside)
            && !is_there(&unfinished)
            && lock(&beside)?.is_some()
        {
            fs::rename(&beside, &unfinished).map_err(ArchiveError::io("move", &beside))?;
        }
        match mode::begin_folder(&unfinished, Mode::at(plan.source)) {
            Ok(()) => {}
            // Not a link: somebody else's folder is not ours to clear.
            Err(_) if is_folder(&unfinished) => {}
            Err(source) => return Err(ArchiveError::io("create the folder", &unfinished)(source)),
        }
        let Some(lock) = lock(&unfinished)? else { continue };
        // Whoever had the lock before may have finished.
        match look(&path, options) {
            Ok(_) if is_folder(&path) == (unfinished == within(&path)) => {
                return Ok((path, unfinished, lock));
            }
            Ok(_) => {}
            Err(error) => {
                drop(lock);
                // Ours, if nothing but the lock is in it.
                if names_in(&unfinished).is_ok_and(|names| names == [LOCK]) {
                    let _ = fs::remove_dir_all(&unfinished);
                }
                return Err(error);
            }
        }
    }
    Err(ArchiveError::Busy { path: path.into() })
}

/// Where the output `path` is, with links followed; an error where it may not be written.
fn look(path: &Path, options: &Options) -> Result<PathBuf, ArchiveError> {
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

/// Brings to an end what a process began to do with the finished files of `path`, and could not because it was ended.
fn bring_about(path: &Path) -> Result<(), ArchiveError> {
    let Ok(path) = path.canonicalize() else { return Ok(()) };
    let unfinished = within(&path);
    if Record::read(&unfinished).state == State::Filling {
        return Ok(());
    }
    let Some(lock) = lock(&unfinished)? else { return Ok(()) };
    let state = Record::read(&unfinished).state;
    if state != State::Filling {
        finish(&unfinished, &path, state, Some(lock))?;
        log::warn!(
            "{}: an interrupted run had finished all of its files; they are in place now",
            path.display()
        );
    }
    Ok(())
}

/// Puts what is in `unfinished`, which is in `path`, in the place of the model that was there. Whatever interrupts
/// it, it can be done again.
fn finish(unfinished: &Path, path: &Path, state: State, lock: Option<File>) -> Result<(), ArchiveError> {
    let refused = || ArchiveError::io("move finished files to", path);
    let contents = Contents::of(unfinished)?;
    if state == State::Removing {
        for name in contents.superseded(path)? {
            fs::remove_file(path.join(name)).map_err(refused())?;
        }
        sync_folder(path);
        let record = Record { state: State::Moving, ..Record::read(unfinished) };
        record.write(unfinished)?;
    }
    for name in &contents.folders {
        let made = mode::begin_folder(&path.join(name), Mode::at(&unfinished.join(name)));
        match made {
            Err(_) if is_folder(&path.join(name)) => {}
            made => made.map_err(refused())?,
        }
    }
    let is_last = |name: &&PathBuf| {
        let own = name.file_name().unwrap_or_default().to_string_lossy();
        shard_index::is_list(&own) || DESCRIPTIONS.contains(&&*own)
    };
    let (last, first): (Vec<_>, Vec<_>) = contents.files.iter().partition(is_last);
    for name in first.into_iter().chain(last) {
        fs::rename(unfinished.join(name), path.join(name)).map_err(refused())?;
    }
    contents.folders.iter().for_each(|folder| sync_folder(&path.join(folder)));
    sync_folder(path);
    remove_own(unfinished, lock);
    if let Err(error) = fs::remove_dir_all(unfinished) {
        log::warn!("{}: cannot be removed: {error}", unfinished.display());
    }
    Ok(())
}

/// Removes record and lock from a folder that is published. It is complete with them, too.
fn remove_own(folder: &Path, lock: Option<File>) {
    let remove = |name: &str| {
        if let Err(error) = fs::remove_file(folder.join(name)) {
            log::warn!("{}: cannot be removed: {error}", folder.join(name).display());
        }
    };
    remove(RECORD);
    // Some systems remove no file that is open.
    let lock = lock.filter(|_| cfg!(unix));
    remove(LOCK);
    drop(lock);
}

/// Takes the lock of `unfinished`; `None` where that was finished or removed meanwhile.
fn lock(unfinished: &Path) -> Result<Option<File>, ArchiveError> {
    let path = unfinished.join(LOCK);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(ArchiveError::io("create", &path))?,
    };
    // A program that this process is starting holds what was locked before for a moment longer.
    for _ in 0..LOCK_TRIES {
        match hold(&file, &path) {
            // What is at stake without locks is only wasted work.
            Hold::Held | Hold::Unknown => return Ok(Some(file)),
            Hold::Gone => return Ok(None),
            Hold::Busy => std::thread::sleep(LOCK_PAUSE),
        }
    }
    Err(ArchiveError::Busy { path: unfinished.into() })
}

/// The unfinished folder of an output that is not there.
fn beside(path: &Path) -> Result<PathBuf, ArchiveError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| ArchiveError::NoDefaultName { path: path.into() })?);
    name.push(UNFINISHED);
    Ok(path.with_file_name(name))
}

/// The unfinished folder of an output that is there.
fn within(path: &Path) -> PathBuf {
    path.join(UNFINISHED)
}

/// Whether there is anything, if only a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether there is a folder, and no link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Whether a folder has nothing, but for what interrupted runs have left.
fn is_empty_folder(path: &Path) -> bool {
    names_in(path).is_ok_and(|names| names.iter().all(|name| is_own(name)))
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<OsString>, ArchiveError> {
    let refused = || ArchiveError::io("read the folder", folder);
    let entries = fs::read_dir(folder).map_err(refused())?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<OsString> = names.collect::<Result<_, _>>().map_err(refused())?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled_apart() {
        assert_eq!(spelled(Path::new("a/é%")), "a/é%25");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let odd = |bytes| spelled(Path::new(OsStr::from_bytes(bytes)));
            assert_eq!(odd(b"a\xff/b"), "a%ff/b");
            assert_ne!(odd(b"a\xff/b"), odd(b"a%ff/b"));
        }
    }

    #[test]
    fn own_names_are_told_from_others() {
        for name in
            [".bantam-partial", ".a.bantam-partial", ".a.safetensors.x1Y2.bantam-partial", ".a1B2c3.partial"]
        {
            assert!(is_own(name.as_ref()), "{name}");
        }
        for name in ["a.partial", ".longer-name.partial", "a.bantam-partial", "config.json", ".gitattributes"]
        {
            assert!(!is_own(name.as_ref()), "{name}");
        }
    }
}
