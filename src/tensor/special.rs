//! Recognising special files, which cannot be mapped or read at arbitrary offsets.

use std::fmt;
use std::fs::{FileType, metadata};
use std::path::Path;

/// A kind of special file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialFile {
    /// A pipe, with or without a name (FIFO, process substitution).
    Pipe,
    /// A terminal, or another device that transfers bytes in order.
    CharacterDevice,
    /// A disk, or a part of one.
    BlockDevice,
    /// A socket.
    Socket,
    /// Something else.
    Other,
}

impl SpecialFile {
    /// The special file at `path`, with links followed. `None` for regular files, folders, and paths that do
    /// not exist.
    pub fn at(path: &Path) -> Option<Self> {
        let file_type = metadata(path).ok()?.file_type();
        (!file_type.is_file() && !file_type.is_dir()).then(|| Self::of(file_type))
    }

    #[cfg(unix)]
    fn of(file_type: FileType) -> Self {
        use std::os::unix::fs::FileTypeExt;
        match () {
            () if file_type.is_fifo() => Self::Pipe,
            () if file_type.is_char_device() => Self::CharacterDevice,
            () if file_type.is_block_device() => Self::BlockDevice,
            () if file_type.is_socket() => Self::Socket,
            () => Self::Other,
        }
    }

    #[cfg(not(unix))]
    fn of(_: FileType) -> Self {
        Self::Other
    }
}

impl fmt::Display for SpecialFile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "a pipe",
            Self::CharacterDevice | Self::BlockDevice => "a device",
            Self::Socket => "a socket",
            Self::Other => "a special file",
        })
    }
}
