//! The bytes of a file, mapped or in memory.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::{MappedFile, ReadError, SpecialFile};

/// The storage of a file's bytes.
pub(super) enum Bytes {
    Mapped(MappedFile),
    Memory(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl Bytes {
    /// Maps the file at `path`.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        // Opening a pipe would block until another process writes to it.
        if let Some(kind) = SpecialFile::at(path) {
            return Err(ReadError::Special { path: path.into(), kind });
        }
        Ok(Self::Mapped(MappedFile::open(path).map_err(ReadError::io(path))?))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory(bytes) => (**bytes).as_ref(),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
