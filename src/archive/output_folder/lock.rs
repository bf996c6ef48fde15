//! The lock of an unfinished folder: only its holder changes the folder's contents.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::places::LOCK;
use crate::archive::locked::{Hold, hold};
use crate::archive::{ArchiveError, disk};
use crate::tensor::SpecialFile;

const TRIES: u32 = 10;
/// Unit tests start no other programs, which are the reason for waiting.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 20 });

/// A lock that is held until it is dropped or the process ends.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `unfinished`; `None` if the folder was finished or removed meanwhile. An error if
    /// another process holds it.
    pub fn take(unfinished: &Path) -> Result<Option<Self>, ArchiveError> {
        let path = unfinished.join(LOCK);
        // Opening a pipe would block.
        if let Some(kind) = SpecialFile::at(&path) {
            return Err(ArchiveError::SpecialOutput { path, kind });
        }
        let open = || {
            disk::step()?;
            File::options().create(true).truncate(false).write(true).open(&path)
        };
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(ArchiveError::io("create", &path))?,
        };
        // A program that this process is starting may keep an earlier lock for a moment.
        for _ in 0..TRIES {
            match hold(&file, &path) {
                // Without locks, the worst outcome is wasted work.
                Hold::Held | Hold::Unknown => return Ok(Some(Self { _file: file })),
                Hold::Gone => return Ok(None),
                Hold::Busy => std::thread::sleep(PAUSE),
            }
        }
        Err(ArchiveError::Busy { path: unfinished.into() })
    }

    /// The lock while its folder is moved or its file removed. Some systems cannot do that with an open file,
    /// so there the lock is released.
    pub fn while_moved(self) -> Option<Self> {
        cfg!(unix).then_some(self)
    }
}
