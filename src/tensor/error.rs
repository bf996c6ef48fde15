//! Why a file of tensors could not be read.

use std::path::{Path, PathBuf};

use super::{Foreign, GgufError, HeaderError, SpecialFile};

/// Why a file of tensors could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header is damaged, or describes other bytes than the file holds.
    #[error("{path}: not a usable safetensors file: {source}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The same of a GGUF file.
    #[error("{path}: not a usable GGUF file: {source}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
    /// The file is in another known format.
    #[error("{path}: neither a safetensors nor a GGUF file: {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: Foreign,
    },
    /// It is not a regular file, so it cannot be read at arbitrary offsets.
    #[error("{path} is {kind}, not a regular file; copy its contents to a file first, and name that file")]
    Special {
        /// Its name.
        path: PathBuf,
        /// What it is.
        kind: SpecialFile,
    },
}

impl ReadError {
    /// For `map_err`: the operating system refused to read `path`.
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.into(), source }
    }

    /// The error that the file at `path`, which begins with `front`, is of a kind that is known and not read.
    pub(super) fn foreign(path: &Path, front: &[u8]) -> Option<Self> {
        Foreign::of(front).map(|what| Self::Foreign { path: path.into(), what })
    }

    /// The error that nothing in the file at `path` looks like a header. What it should be, its name says.
    pub(super) fn no_header(path: &Path, source: HeaderError) -> Self {
        match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf")) {
            true => Self::Gguf { path: path.into(), source: GgufError::NoMagic },
            false => Self::Header { path: path.into(), source },
        }
    }
}
