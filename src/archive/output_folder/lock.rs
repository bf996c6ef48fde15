//! The lock of an unfinished folder: only who holds it changes what is in the folder.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::places::LOCK;
use crate::archive::locked::{Hold, hold};
use crate::archive::{ArchiveError, disk};
use crate::tensor::SpecialFile;

const TRIES: u32 = 10;
/// Unit tests start no programs, which is what a lock is waited for.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 20 });

/// A lock that is held until this is dropped, however the process ends.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `unfinished`; `None` where that was finished or removed meanwhile. An error where another
    /// process holds it.
    pub fn take(unfinished: &Path) -> Result<Option<Self>, ArchiveError> {
        let path = unfinished.join(LOCK);
        // A pipe would be waited for.
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
        // A program that this process is starting holds what was locked before for a moment longer.
        for _ in 0..TRIES {
            match hold(&file, &path) {
                // What is at stake without locks is only wasted work.
                Hold::Held | Hold::Unknown => return Ok(Some(Self { _file: file })),
                Hold::Gone => return Ok(None),
                Hold::Busy => std::thread::sleep(PAUSE),
            }
        }
        Err(ArchiveError::Busy { path: unfinished.into() })
    }

    /// The lock while its folder is moved or its file removed: some systems do neither with a file that is open, so
    /// there it is let go of.
    pub fn while_moved(self) -> Option<Self> {
        cfg!(unix).then_some(self)
    }
}
