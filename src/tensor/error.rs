//! Why a file of tensors could not be read.

use std::path::{Path, PathBuf};

use super::{Foreign, GgufError, HeaderError, SpecialFile};

/// Why a file of tensors could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The header is damaged, or does not match the file's data.
    #[error("{path}: not a valid safetensors file: {source}")]
    Header {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: HeaderError,
    },
    /// The same for a GGUF file.
    #[error("{path}: not a valid GGUF file: {source}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: GgufError,
    },
    /// The file is in another known format.
    #[error("{path}: neither a safetensors nor a GGUF file: {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The other format.
        what: Foreign,
    },
    /// It is not a regular file, so it cannot be read at arbitrary offsets.
    #[error("{path} is {kind}, not a regular file; copy its contents to a file first, and name that file")]
    Special {
        /// The file's path.
        path: PathBuf,
        /// The kind of file.
        kind: SpecialFile,
    },
}

impl ReadError {
    /// For `map_err`: the operating system could not read `path`.
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.into(), source }
    }

    /// The error for a file at `path` whose first bytes `front` show a known but unsupported kind of file.
    pub(super) fn foreign(path: &Path, front: &[u8]) -> Option<Self> {
        Foreign::of(front).map(|what| Self::Foreign { path: path.into(), what })
    }

    /// The error that the file at `path` begins with nothing like a header. Its name says which format it
    /// should have.
    pub(super) fn no_header(path: &Path, source: HeaderError) -> Self {
        match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf")) {
            true => Self::Gguf { path: path.into(), source: GgufError::NoMagic },
            false => Self::Header { path: path.into(), source },
        }
    }
}
