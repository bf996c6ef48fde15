//! Errors of a store.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::codec::CodecError;
use crate::tensor::ReadError;

/// Why a store could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A model's file could not be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A model's file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system reported an error.
    #[error("cannot {doing} {path}")]
    Io {
        /// The operation that was tried.
        doing: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// There is no store.
    #[error("{path} is not a store; `bantam store init {path}` makes one")]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// A bucket cannot be used.
    #[error("{url}: {why}")]
    Bucket {
        /// Its URL.
        url: String,
        /// What is wrong with it, or with what the environment says.
        why: String,
    },
    /// A folder that is to become a store is not empty.
    #[error("{path} is not empty, so it cannot become a store")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The store was made by a later version.
    #[error(
        "{path}: the store has format {format}, but this version knows only 1; a newer bantam may read it"
    )]
    UnknownFormat {
        /// The folder.
        path: PathBuf,
        /// The format that it names.
        format: u64,
    },
    /// An object is damaged, or missing although another one names it.
    #[error("{path}: {what}")]
    Object {
        /// The object.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A piece of a tensor is damaged or missing.
    #[error("piece {blake3}: {what}")]
    Piece {
        /// BLAKE3 of its bytes, in hexadecimal.
        blake3: String,
        /// What is wrong with it.
        what: String,
    },
    /// A payload is damaged.
    #[error("{path}: piece {blake3}")]
    Payload {
        /// The pack.
        path: PathBuf,
        /// BLAKE3 of the piece's bytes, in hexadecimal.
        blake3: String,
        /// What is wrong with it.
        source: CodecError,
    },
    /// There is no such model, or no such version of it.
    #[error("{path}: there is no model {name}")]
    NoSuchModel {
        /// The store.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A name that no model can have.
    #[error("{name:?} is no name for a model: {why}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The output exists.
    #[error("{path} exists already")]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// A part of a model cannot be read, such as a link that leads nowhere.
    #[error("{path} cannot be stored: it is neither a file nor a folder that can be read")]
    LeftOut {
        /// The entry.
        path: PathBuf,
    },
    /// A writer took so long that its session was ended.
    #[error(
        "nothing was added: the session {session} was ended by somebody who collects; add the model again"
    )]
    Expired {
        /// The session.
        session: String,
    },
    /// The caller's [`Progress`](crate::archive::Progress) said to stop.
    #[error("cancelled")]
    Cancelled,
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// What was read of an object; `None` where it is not there.
    pub(super) fn if_there<T>(read: Result<T, Self>) -> Result<Option<T>, Self> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Self::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
