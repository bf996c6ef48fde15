//! Stamps of source files, to detect that a source has changed since a shard was made from it.

use std::fmt::Write;
use std::fs::{self, Metadata};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::archive::ArchiveError;
use crate::codec::checksum;

/// Identifies the state of a source file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    path: String,
    bytes: u64,
    /// Time of the last write in nanoseconds since 1970; `None` if the system does not record it.
    modified: Option<u64>,
    /// Time of change and file number, which no program can set; `None` if the system has neither.
    #[serde(default)]
    changed: Option<(i64, i64, u64)>,
    /// XXH3 of the file's header.
    header: u64,
}

impl Stamp {
    /// The stamp of the file at `path`, which begins with `header`.
    pub fn of(path: &Path, header: &[u8]) -> Result<Self, ArchiveError> {
        let read = ArchiveError::io("read", path);
        let (path, meta) = path
            .canonicalize()
            .and_then(|path| fs::metadata(&path).map(|meta| (path, meta)))
            .map_err(read)?;
        let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok());
        let changed = changed(&meta);
        Ok(Self { path: spelled(&path), bytes: meta.len(), modified, changed, header: checksum(header) })
    }
}

/// The time of the file's last change of any kind, and its number.
#[cfg(unix)]
fn changed(meta: &Metadata) -> Option<(i64, i64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.ctime(), meta.ctime_nsec(), meta.ino()))
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> Option<(i64, i64, u64)> {
    None
}

/// `path` as text. Different paths give different texts, whatever their bytes are.
pub(super) fn spelled(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled_apart() {
        assert_eq!(spelled(Path::new("a/é%")), "a/é%25");
        #[cfg(unix)]
        {
            use std::ffi::OsStr;
            use std::os::unix::ffi::OsStrExt;
            let odd = |bytes| spelled(Path::new(OsStr::from_bytes(bytes)));
            assert_eq!(odd(b"a\xff/b"), "a%ff/b");
            assert_ne!(odd(b"a\xff/b"), odd(b"a%ff/b"));
        }
    }
}
