//! Where an output is filled, and the file names that are reserved for bantam.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::archive::output::UNFINISHED;

/// The record's name in an unfinished folder.
pub(super) const RECORD: &str = ".bantam-record.json";
/// The name of the file that a process locks while it works in an unfinished folder.
pub(super) const LOCK: &str = ".bantam-lock";

/// Whether an entry of this name is an interrupted or running process's file, and so not part of a model.
pub fn is_own(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // Temporary files of bantam's first version.
    let was_own = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".partial"));
    let was_own = was_own.is_some_and(|own| own.len() == 6 && own.bytes().all(|b| b.is_ascii_alphanumeric()));
    [RECORD, LOCK].contains(&&*name) || (name.starts_with('.') && name.ends_with(UNFINISHED)) || was_own
}

/// The unfinished folder of the output `path` if that does not exist: beside it, so on the same disk.
pub(super) fn beside(path: &Path) -> Result<PathBuf, ArchiveError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| ArchiveError::NoDefaultName { path: path.into() })?);
    name.push(UNFINISHED);
    Ok(path.with_file_name(name))
}

/// The unfinished folder of the output `path` if that is a folder: inside it, so on the same disk even at a
/// mount point.
pub(super) fn within(path: &Path) -> PathBuf {
    path.join(UNFINISHED)
}

/// The unfinished folder of the output `path`.
pub(super) fn unfinished(path: &Path) -> Result<PathBuf, ArchiveError> {
    match is_folder(path) {
        true => Ok(within(path)),
        false => beside(path),
    }
}

/// Whether anything exists at `path`, even a broken link.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether `path` is a folder, and not a link to one.
pub(super) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Whether a folder is empty except for what interrupted runs left.
pub(super) fn is_empty_folder(path: &Path) -> bool {
    names_in(path).is_ok_and(|names| names.iter().all(|name| is_own(name)))
}

/// The names in a folder, sorted.
pub(super) fn names_in(folder: &Path) -> Result<Vec<OsString>, ArchiveError> {
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
