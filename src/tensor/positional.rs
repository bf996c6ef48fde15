//! Reading a file by position, for cases in which a mapping is unsuitable.
//!
//! Accessing a mapped page of a truncated file faults, but reading there by position returns an error that
//! can be handled. Bytes read this way also do not count as this process's memory, as accessed pages of a
//! mapping do.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::bytes::Bytes;

/// Reads an open file by position, even after the file was renamed or removed.
#[derive(Clone)]
pub struct FileReader {
    path: Arc<PathBuf>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    File { file: Arc<File>, at_first: State },
    Memory(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

/// Detects that a file was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    len: u64,
    /// `None` if the system does not record it.
    modified: Option<SystemTime>,
}

impl State {
    fn of(file: &File) -> Option<Self> {
        let meta = file.metadata().ok()?;
        Some(Self { len: meta.len(), modified: meta.modified().ok() })
    }
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl FileReader {
    pub(super) fn new(path: &Path, bytes: &Bytes) -> Self {
        let source = match bytes {
            Bytes::Mapped(map) => {
                // The data that was checked when the file was mapped has this length.
                let at_first = State { len: map.len() as u64, modified: map.modified() };
                Source::File { at_first, file: map.file().clone() }
            }
            Bytes::Memory(bytes) => Source::Memory(bytes.clone()),
        };
        Self { path: Arc::new(path.into()), source }
    }

    /// The path of the file, or the name it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `bytes` from byte `offset` of the file on. Returns `UnexpectedEof` if the file is too short.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.source {
            Source::File { file, .. } => read_exact_at(file, bytes, offset),
            Source::Memory(all) => {
                let start = usize::try_from(offset).ok();
                let found = start.and_then(|start| (**all).as_ref().get(start..)?.get(..bytes.len()));
                bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// The bytes in `range`, which the caller has compared with the file's length.
    pub(crate) fn read(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(range.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(range.len(), 0);
        self.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(bytes)
    }

    /// Whether the file has its original length and, according to the system, was not written to since it was
    /// opened.
    pub fn is_unchanged(&self) -> bool {
        match &self.source {
            Source::File { file, at_first } => State::of(file).as_ref() == Some(at_first),
            Source::Memory(_) => true,
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = &mut bytes[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_by_position_and_cutting_it_short_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, [1, 2, 3, 4]).unwrap();
        let reader = FileReader::new(&path, &Bytes::open(&path).unwrap());
        let mut two = [0; 2];
        reader.read_exact_at(&mut two, 1).unwrap();
        assert_eq!((two, reader.is_unchanged()), ([2, 3], true));
        File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
        let error = reader.read_exact_at(&mut two, 1).unwrap_err();
        assert_eq!((error.kind(), reader.is_unchanged()), (io::ErrorKind::UnexpectedEof, false));
        std::fs::remove_file(&path).unwrap();
        reader.read_exact_at(&mut two, 0).unwrap();
    }

    #[test]
    fn bytes_in_memory_are_read_the_same_way() {
        let reader = FileReader::new(Path::new("none"), &Bytes::Memory(Arc::new(vec![1, 2, 3])));
        let mut two = [0; 2];
        reader.read_exact_at(&mut two, 1).unwrap();
        assert_eq!(two, [2, 3]);
        assert!(reader.read_exact_at(&mut two, 2).is_err());
        assert!(reader.read_exact_at(&mut two, u64::MAX).is_err() && reader.is_unchanged());
    }
}
