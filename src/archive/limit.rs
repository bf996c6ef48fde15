//! The maximum size that an untrusted file may be restored to.
//!
//! A payload of 256 bytes can stand for up to 16 MiB of equal elements, and the original header is
//! compressed. Each of these has its own bound; this limit applies to the total of a file or folder.

use std::path::Path;

use super::{Archive, ArchiveError, ModelFiles};

/// Maximum bytes of a restored original. If it has more, nothing is written and no memory is allocated for
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limit {
    /// [`Limit::TIMES`] times the compressed bytes, but at least [`Limit::LEAST`]. Weights stay far below it,
    /// lossy ones too; a file that exceeds it is nearly all zeros, or was made to fill a disk.
    #[default]
    Plausible,
    /// This many bytes.
    Bytes(u64),
}

impl Limit {
    /// Maximum bytes of an original for each compressed byte.
    pub const TIMES: u64 = 32;

    /// Every file may be restored to this many bytes.
    pub const LEAST: u64 = 1 << 30;

    /// No limit.
    pub const NONE: Self = Self::Bytes(u64::MAX);

    /// Maximum bytes of an original whose compressed file has `compressed` bytes.
    pub const fn bytes(self, compressed: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Plausible => {
                let times = compressed.saturating_mul(Self::TIMES);
                if times < Self::LEAST { Self::LEAST } else { times }
            }
        }
    }

    /// Returns an error that names `path` if the originals of `archives`, all in `path`, exceed the limit
    /// together.
    pub(super) fn check<'a>(
        self,
        path: &Path,
        archives: impl Iterator<Item = &'a Archive> + Clone,
        base: Option<&ModelFiles>,
    ) -> Result<(), ArchiveError> {
        let len = archives.clone().map(Archive::original_len).fold(0, u64::saturating_add);
        // What is no larger than its base is plausible, too.
        let of = |name: &str| Some(base?.weight(name)?.original_len);
        let bases = archives.clone().map(|archive| archive.base_len(of)).fold(0, u64::saturating_add);
        let most = self.bytes(archives.map(Archive::compressed_len).fold(0, u64::saturating_add));
        let most = if self == Self::Plausible { most.saturating_add(bases) } else { most };
        match len > most {
            true => Err(ArchiveError::TooLarge { path: path.into(), len, most }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plausible_grows_with_the_file() {
        assert_eq!(Limit::default().bytes(0), 1 << 30);
        assert_eq!(Limit::Plausible.bytes(1 << 25), 1 << 30);
        assert_eq!(Limit::Plausible.bytes(10 << 30), 320 << 30);
        assert_eq!(Limit::Plausible.bytes(u64::MAX), u64::MAX);
        assert_eq!(Limit::Bytes(5).bytes(1 << 40), 5);
    }
}
