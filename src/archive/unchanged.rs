//! Whether a source is still what it was when it was read.
//!
//! A source is read more than once: its header, its values for the plan, then for the code and for the hash. If
//! somebody writes to it meanwhile, what is made of it belongs to no state that it was ever in. So its length and
//! the time it was last written are compared with those from when it was opened. A file that was written just
//! before could be written again without another time to show it: such a file is also hashed, before and after.

use std::fs;
use std::time::{Duration, SystemTime};

use super::progress::check;
use super::{ArchiveError, Progress};
use crate::tensor::{FileReader, SourceFile};

/// Systems tell times in steps of no more than this.
const STEP: Duration = Duration::from_secs(2);

/// Bytes that are hashed between two looks at whether to go on.
const AT_ONCE: usize = 8 << 20;

/// What a source was like before it was read.
pub(super) struct Unchanged {
    reader: FileReader,
    len: u64,
    /// Of all of it, where times alone do not tell.
    hash: Option<blake3::Hash>,
}

impl Unchanged {
    /// Looks at `file` before it is read.
    pub fn begin(file: &SourceFile, progress: &dyn Progress) -> Result<Self, ArchiveError> {
        let mut unchanged = Self { reader: file.reader(), len: file.bytes().len() as u64, hash: None };
        // What is in memory, or in a file without a name, is nobody else's.
        let modified = fs::metadata(file.path()).and_then(|meta| meta.modified());
        if modified.is_ok_and(is_recent) {
            unchanged.hash = Some(unchanged.hash(progress)?);
        }
        Ok(unchanged)
    }

    /// An error if it has changed since.
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

/// Whether something could still be written at this time, as far as the clock tells.
fn is_recent(modified: SystemTime) -> bool {
    SystemTime::now().duration_since(modified).map_or(true, |age| age < STEP)
}
