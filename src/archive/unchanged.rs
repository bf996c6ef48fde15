//! Detecting that a source changes while it is being read.
//!
//! A source is read more than once: its header, and its values for the plan, the code and the hash. If
//! another process writes to it meanwhile, the output matches no state that the source ever had. So its
//! length and modification time are compared with those at opening. A recently written file could be written
//! again without a change of its modification time, so it is also hashed before and after.

use std::fs;
use std::time::{Duration, SystemTime};

use super::progress::check;
use super::{ArchiveError, Progress};
use crate::tensor::{FileReader, SourceFile};

/// File systems record times in steps of at most this length.
const STEP: Duration = Duration::from_secs(2);

/// Bytes that are hashed between two checks for cancellation.
const AT_ONCE: usize = 8 << 20;

/// The state of a source before it was read.
pub(super) struct Unchanged {
    reader: FileReader,
    len: u64,
    /// Hash of all of it, if the modification time alone is not enough.
    hash: Option<blake3::Hash>,
}

impl Unchanged {
    /// Records the state of `file` before it is read.
    pub fn begin(file: &SourceFile, progress: &dyn Progress) -> Result<Self, ArchiveError> {
        let mut unchanged = Self { reader: file.reader(), len: file.bytes().len() as u64, hash: None };
        // No other process can write to memory or to an unnamed file.
        let modified = fs::metadata(file.path()).and_then(|meta| meta.modified());
        if modified.is_ok_and(is_recent) {
            unchanged.hash = Some(unchanged.hash(progress)?);
        }
        Ok(unchanged)
    }

    /// Returns an error if the source has changed since.
    pub fn check(&self, progress: &dyn Progress) -> Result<(), ArchiveError> {
        let same = match self.hash {
            _ if !self.reader.is_unchanged() => false,
            Some(hash) => self.hash(progress)? == hash,
            None => true,
        };
        match same {
            true => Ok(()),
            false => Err(ArchiveError::Changed { file: self.reader.path().into() }),
        }
    }

    fn hash(&self, progress: &dyn Progress) -> Result<blake3::Hash, ArchiveError> {
        let (mut hasher, mut at, mut bytes) = (blake3::Hasher::new(), 0, vec![0; AT_ONCE]);
        while at < self.len {
            check(progress)?;
            let len = (self.len - at).min(AT_ONCE as u64);
            let bytes = &mut bytes[..len as usize];
            self.reader.read_exact_at(bytes, at).map_err(ArchiveError::read_again(self.reader.path()))?;
            hasher.update_rayon(bytes);
            at += len;
        }
        Ok(hasher.finalize())
    }
}

/// Whether the file could be written again without a change of its modification time.
fn is_recent(modified: SystemTime) -> bool {
    SystemTime::now().duration_since(modified).map_or(true, |age| age < STEP)
}
