//! A file mapped read-only into memory.
//!
//! This is one of the few places with `unsafe`: a mapping is only sound while nobody truncates or rewrites
//! the file. bantam never writes to a file that it reads, because outputs get a temporary name and are
//! renamed; a library can promise no more. If another program rewrites a model file in place while it is in
//! use, the process can still fault, like every program that maps files. Therefore headers, data that is
//! compressed, restored or checked, and the weights of models are read by position instead (`positional.rs`),
//! which gives an error where a mapping would fault.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The bytes of a file, paged in on access. If the file is truncated meanwhile, or its medium fails, access
/// ends the process. Reading by position returns an error instead.
#[derive(Debug)]
pub struct MappedFile {
    /// `None` for an empty file, which some systems refuse to map.
    map: Option<memmap2::Mmap>,
    /// Kept open, so that the same file can be read by position even if it is renamed or removed.
    file: Arc<File>,
    /// Modification time when it was opened; `None` if the system does not record it.
    modified: Option<SystemTime>,
}

impl MappedFile {
    /// Maps the file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// Copies everything from `reader` to an unnamed file in `folder` and maps that. Use it for a pipe, which
    /// cannot be mapped itself. It needs little memory, and the file is removed with the mapping.
    pub fn spool(mut reader: impl io::Read, folder: &Path) -> io::Result<Self> {
        let mut file = tempfile::tempfile_in(folder)?;
        io::copy(&mut reader, &mut file)?;
        Self::of(file)
    }

    /// The mapped file.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Modification time when it was opened.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    fn of(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let modified = meta.modified().ok();
        if meta.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if meta.len() == 0 {
            return Ok(Self { map: None, file: Arc::new(file), modified });
        }
        // SAFETY: the mapping is private to this value and read-only. The module's documentation says what
        // other programs must not do.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self { map: Some(map), file: Arc::new(file), modified })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_file_and_an_empty_file_maps_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        assert_eq!(&*MappedFile::open(&path).unwrap(), [1, 2, 3]);
        std::fs::write(&path, []).unwrap();
        assert!(MappedFile::open(&path).unwrap().is_empty());
        assert!(MappedFile::open(folder.path()).is_err());
        assert_eq!(&*MappedFile::spool(&[4, 5][..], folder.path()).unwrap(), [4, 5]);
        assert!(MappedFile::spool(&[][..], folder.path()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a spooled file has a name");
    }
}
