//! An output appears under its name only when it is complete.
//!
//! `m.safetensors` is written as `.m.safetensors.XXXXXX.bantam-partial` in the same folder, under a lock. If
//! the process is killed, the next one that writes the same output removes this file. It is never taken for a
//! part of a model ([`is_own`](super::output_folder::is_own)).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use super::disk;
use super::locked::{Hold, hold};
use super::mode::{self, Mode};
use super::progress::check;
use super::sink::Sink;
use super::{ArchiveError, Options, Progress};
use crate::tensor::SpecialFile;

/// Suffix of the temporary name of an unfinished output.
pub(super) const UNFINISHED: &str = ".bantam-partial";

/// Maximum bytes of an output's name that its temporary name starts with, to limit the length of names.
const NAME_BYTES: usize = 150;

/// How many names are tried if another process takes the new file for a left-over before it is locked.
const TRIES: usize = 8;

/// Bytes that are copied between two checks for cancellation.
const COPIED_AT_ONCE: u64 = 16 << 20;

/// A file that is written under a temporary name in its destination's folder. If it is dropped before
/// [`OutputFile::publish`], it is removed.
pub(super) struct OutputFile {
    temporary: NamedTempFile,
    path: PathBuf,
    options: Options,
    mode: Option<Mode>,
}

impl OutputFile {
    /// Begins the file that will become `path`, with the permissions of `source` if that is given.
    pub fn create(path: &Path, options: &Options, source: Option<&Path>) -> Result<Self, ArchiveError> {
        refuse_no_file(path)?;
        refuse_existing(path, options)?;
        refuse_no_folder(path)?;
        let mode = source.and_then(Mode::at);
        let temporary = held(path, mode)?;
        Ok(Self { temporary, path: path.into(), options: options.clone(), mode })
    }

    /// The sink that writes to it.
    pub fn sink(&self) -> Sink<'_> {
        Sink::File(self.temporary.as_file(), &self.path)
    }

    /// Copies all of `source` into it and reports the bytes to `progress`. An error if `source` changes
    /// meanwhile.
    pub fn copy_from(&mut self, source: &Path, progress: &dyn Progress) -> Result<(), ArchiveError> {
        let mut from = File::open(source).map_err(ArchiveError::io("open", source))?;
        let state = |file: &File| file.metadata().ok().map(|meta| (meta.len(), meta.modified().ok()));
        let (before, mut copied) = (state(&from), 0);
        loop {
            check(progress)?;
            let bytes = std::io::copy(&mut (&mut from).take(COPIED_AT_ONCE), self.temporary.as_file_mut());
            match bytes.map_err(ArchiveError::io("copy", source))? {
                0 => break,
                bytes => {
                    copied += bytes;
                    progress.advance(bytes);
                }
            }
        }
        match before == state(&from) && before.is_none_or(|(len, _)| len == copied) {
            true => Ok(()),
            false => Err(ArchiveError::Changed { file: source.into() }),
        }
    }

    /// Syncs the file and renames it to its final name.
    pub fn publish(self) -> Result<(), ArchiveError> {
        let Self { temporary, path, options, mode } = self;
        mode::end_file(temporary.as_file(), mode)
            .map_err(ArchiveError::io("set the permissions of", &path))?;
        temporary.as_file().sync_all().map_err(ArchiveError::io("write", &path))?;
        disk::step().map_err(ArchiveError::io("rename a finished file to", &path))?;
        let named = match options.overwrite {
            true => temporary.persist(&path),
            false => temporary.persist_noclobber(&path),
        };
        match named {
            Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(ArchiveError::Exists { path });
            }
            Err(e) => {
                return Err(ArchiveError::Io { doing: "rename a finished file to", path, source: e.error });
            }
            Ok(_) => {}
        }
        sync_folder(parent(&path));
        Ok(())
    }
}

/// Creates and locks a temporary file for the output `path`.
fn held(path: &Path, mode: Option<Mode>) -> Result<NamedTempFile, ArchiveError> {
    let prefix = temporary_prefix(path);
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(UNFINISHED);
    mode::begin_file(&mut builder, mode);
    let refused = || ArchiveError::io("create a file beside", path);
    #[cfg(test)]
    builder.disable_cleanup(disk::steps::is_hooked());
    for _ in 0..TRIES {
        disk::step().map_err(refused())?;
        let temporary = builder.tempfile_in(parent(path)).map_err(refused())?;
        if matches!(hold(temporary.as_file(), temporary.path()), Hold::Held | Hold::Unknown) {
            return Ok(temporary);
        }
    }
    Err(refused()(std::io::ErrorKind::ResourceBusy.into()))
}

/// Prefix of the temporary names for the output `path`.
fn temporary_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{}.", &name[..name.floor_char_boundary(NAME_BYTES)])
}

/// Removes temporary files that killed processes left for the output `path`.
pub(super) fn reclaim(path: &Path) {
    let prefix = temporary_prefix(path);
    for entry in fs::read_dir(parent(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // The random part must be alphanumeric, or this could be another output's file.
        let own = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(UNFINISHED));
        if !own.is_some_and(|own| own.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            || !entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            continue;
        }
        let left = entry.path();
        let file = File::open(&left);
        if file.is_ok_and(|file| matches!(hold(&file, &left), Hold::Held)) {
            match disk::remove_file(&left) {
                Ok(()) => log::info!("{}: removed, because an interrupted process left it", left.display()),
                Err(error) => log::warn!("{}: cannot be removed: {error}", left.display()),
            }
        }
    }
}

/// Returns an error if something exists at `path` that the options do not allow to be replaced.
pub(super) fn refuse_existing(path: &Path, options: &Options) -> Result<(), ArchiveError> {
    // `exists` is false for a broken link, so it is not used here.
    if !options.overwrite && fs::symlink_metadata(path).is_ok() {
        return Err(ArchiveError::Exists { path: path.into() });
    }
    Ok(())
}

/// Returns an error if `path` is something that a file cannot or should not replace: a folder, a pipe, a
/// device.
fn refuse_no_file(path: &Path) -> Result<(), ArchiveError> {
    match SpecialFile::at(path) {
        Some(kind) => Err(ArchiveError::SpecialOutput { path: path.into(), kind }),
        None if path.is_dir() => Err(ArchiveError::FolderInTheWay { path: path.into() }),
        None => Ok(()),
    }
}

/// Returns an error that names the parent folder of `path` if there is no such folder.
pub(super) fn refuse_no_folder(path: &Path) -> Result<(), ArchiveError> {
    let folder = parent(path);
    match fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(ArchiveError::NoFolder { folder: folder.into(), path: path.into() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ArchiveError::NoFolder { folder: folder.into(), path: path.into() })
        }
        Err(error) => Err(ArchiveError::io("look at the folder", folder)(error)),
    }
}

/// The parent folder of `path`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs renames in `folder` if the system can. The files' contents are synced already, so a failure here
/// loses no data.
pub(super) fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Err(error) = File::open(folder).and_then(|f| f.sync_all()) {
        log::debug!("cannot sync {}: {error}", folder.display());
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// Returns an error if `src` and `dst` are the same file or folder.
pub(super) fn refuse_same(src: &Path, dst: &Path) -> Result<(), ArchiveError> {
    let same = match (src.canonicalize(), dst.canonicalize()) {
        (Ok(src), Ok(dst)) => src == dst,
        _ => src == dst,
    };
    if same { Err(ArchiveError::SameFile { path: src.into() }) } else { Ok(()) }
}
