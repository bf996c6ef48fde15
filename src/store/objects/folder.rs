//! Objects in a folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::{Builder, NamedTempFile};

use super::super::error::StoreError;
use super::super::faults::strike;

/// What is written under no name yet, and what a store's clock is read from.
pub(super) const TEMPORARY: &str = "tmp";

/// A folder of objects.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn is_empty(&self) -> Result<bool, StoreError> {
        match fs::read_dir(&self.root).and_then(|mut entries| entries.next().transpose()) {
            Ok(first) => Ok(first.is_none()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(StoreError::io("read the folder", self.root.clone())(error)),
        }
    }

    /// A file that has no name yet.
    pub fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let folder = self.path(TEMPORARY);
        make_folders(&folder)?;
        strike()
            .and_then(|()| Builder::new().tempfile_in(&folder))
            .map_err(StoreError::io("create a file in", folder))
    }

    /// Creates an object with these bytes. `false` if there is one of that name, which stays as it is.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut file = self.temporary()?;
        strike().and_then(|()| file.write_all(bytes)).map_err(StoreError::io("write", file.path()))?;
        self.give_name(name, file)
    }

    /// Makes an object of a file, durable. `false` if there is one of that name, which stays as it is.
    pub fn give_name(&self, name: &str, file: NamedTempFile) -> Result<bool, StoreError> {
        let path = self.path(name);
        strike().and_then(|()| file.as_file().sync_all()).map_err(StoreError::io("write", file.path()))?;
        let parent = path.parent().unwrap_or(&self.root);
        make_folders(parent)?;
        strike().map_err(StoreError::io("create", &path))?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(refused) => return Err(StoreError::io("create", path)(refused.error)),
        }
        sync_folder(parent)?;
        Ok(true)
    }

    /// An object's bytes; `None` if there is no such object.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(name);
        StoreError::if_there(fs::read(&path).map_err(StoreError::io("read", path)))
    }

    /// `len` bytes of an object from `start` on.
    pub fn read_part(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name);
        let read = || {
            let mut file = File::open(&path)?;
            if start
                .checked_add(len as u64)
                .is_none_or(|end| end > file.metadata().map_or(0, |data| data.len()))
            {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let mut bytes = vec![0; len];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(StoreError::io("read", path.clone()))
    }

    /// Bytes of an object.
    pub fn len(&self, name: &str) -> Result<u64, StoreError> {
        let path = self.path(name);
        Ok(fs::metadata(&path).map_err(StoreError::io("read", path))?.len())
    }

    /// Deletes an object, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match strike().and_then(|()| fs::remove_file(&path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("delete", path)(error)),
            Ok(()) => path.parent().map_or(Ok(()), sync_folder),
        }
    }

    /// When an object was created, by the clock of whoever keeps the folder.
    pub fn modified(&self, name: &str) -> Result<SystemTime, StoreError> {
        let path = self.path(name);
        fs::metadata(&path).and_then(|data| data.modified()).map_err(StoreError::io("read", path))
    }

    /// The time by the same clock.
    pub fn now(&self) -> Result<SystemTime, StoreError> {
        let file = self.temporary()?;
        let time = file.as_file().metadata().and_then(|data| data.modified());
        time.map_err(StoreError::io("read", file.path()))
    }

    /// The names of all objects in a folder of the store and its sub-folders, sorted.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        let mut unread = vec![folder.to_string()];
        while let Some(here) = unread.pop() {
            let path = self.path(&here);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("read the folder", path)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(StoreError::io("read the folder", path.clone()))?;
                let kind = entry.file_type().map_err(StoreError::io("read", entry.path()))?;
                // Names of a store's objects are all ASCII.
                let Some(name) = entry.file_name().to_str().map(|name| format!("{here}/{name}")) else {
                    continue;
                };
                if kind.is_dir() { unread.push(name) } else { names.push(name) }
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Makes a folder and those above it, each durable.
fn make_folders(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folders(parent)?;
    }
    match strike().and_then(|()| fs::create_dir(path)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::io("create the folder", path)(error))
        }
        _ => path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder),
    }
}

/// Makes the names in a folder durable, where the system needs to be asked.
pub(in super::super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let synced = strike().and_then(|()| File::open(path)?.sync_all());
        synced.map_err(StoreError::io("write the folder", path))?;
    }
    Ok(())
}
