//! The destination of a result that is written in pieces, in any order: a file or memory.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use super::ArchiveError;

/// Takes pieces from any thread. Gaps between pieces read as zeros.
#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    /// A file, and its name for messages.
    File(&'a File, &'a Path),
    /// Bytes in memory, which grow as needed.
    Memory(&'a Mutex<Vec<u8>>),
}

impl Sink<'_> {
    /// Writes `bytes` at `offset`.
    pub fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.try_put(offset, bytes).map_err(|source| self.refused(source))
    }

    /// Like [`Sink::put`], for callers with their own error type.
    pub fn try_put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file, _) => write_all_at(file, bytes, offset),
            Self::Memory(memory) => {
                let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
                let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
                let mut memory = memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if let Some(more @ 1..) = end.checked_sub(memory.len()) {
                    memory.try_reserve(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
                    memory.resize(end, 0);
                }
                memory[start..end].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Allocates `len` bytes at once if the sink is in memory.
    pub fn reserve(&self, len: u64) -> Result<(), ArchiveError> {
        let Self::Memory(memory) = self else { return Ok(()) };
        let mut memory = memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let reserved = usize::try_from(len).ok().and_then(|len| memory.try_reserve_exact(len).ok());
        reserved.ok_or_else(|| ArchiveError::OutOfMemory { path: super::IN_MEMORY.into(), len })
    }

    /// Truncates the sink to `len` bytes, because a payload may turn out shorter than an earlier attempt.
    pub fn cut(&self, len: u64) -> Result<(), ArchiveError> {
        match self {
            Self::File(file, _) => file.set_len(len).map_err(|source| self.refused(source)),
            Self::Memory(memory) => {
                let mut memory = memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                memory.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Ok(())
            }
        }
    }

    /// The error that a write failed.
    pub fn refused(&self, source: io::Error) -> ArchiveError {
        let path = match self {
            Self::File(_, path) => path,
            Self::Memory(_) => Path::new(super::IN_MEMORY),
        };
        ArchiveError::io("write", path)(source)
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
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
    fn pieces_in_any_order_make_the_same_file_and_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let memory = Mutex::new(Vec::new());
        for sink in [Sink::File(file.as_file(), file.path()), Sink::Memory(&memory)] {
            sink.put(6, b"later").unwrap();
            sink.put(0, b"first").unwrap();
            sink.put(6, b"L").unwrap();
        }
        assert_eq!(memory.lock().unwrap().as_slice(), b"first\0Later");
        assert_eq!(std::fs::read(file.path()).unwrap(), b"first\0Later");
        assert!(Sink::Memory(&memory).put(u64::MAX, b"x").is_err());
    }
}
