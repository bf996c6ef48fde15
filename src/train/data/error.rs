//! Errors of training data.

use std::io;
use std::path::{Path, PathBuf};

use super::position::Position;
use crate::tensor::SpecialFile;
use crate::text::TextError;

/// Why training data could not be read. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The data is not in a regular file.
    #[error("{} is {kind}; records are read in any order, so write them to a file first", path.display())]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: SpecialFile,
    },
    /// A folder has no file with the expected name.
    #[error(
        "{} has neither train.jsonl nor train.txt; put the training data there, or name a .jsonl or .txt file",
        path.display()
    )]
    NoFile {
        /// The folder.
        path: PathBuf,
    },
    /// A folder has two files for one purpose.
    #[error("{} has both {first} and {second}; name the file that is meant, or remove one", path.display())]
    TwoFiles {
        /// The folder.
        path: PathBuf,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The name of a file does not say what is in it.
    #[error("the name of {} ends in neither .jsonl (a JSON object a line) nor .txt (plain text)", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A record cannot be used.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line that the record begins with.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A record has no tokens.
    #[error("{}, line {line}: {source}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The line that the record begins with.
        line: u64,
        /// Why the tokenizer or the chat template failed.
        source: TextError,
    },
    /// A file has no records.
    #[error("{} has no records", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A position is not in the file.
    #[error(
        "{} has {records} records, and not what was read of record {} before: it has changed; use the file that the \
         training began with, or begin anew",
        path.display(), position.record
    )]
    Position {
        /// The file.
        path: PathBuf,
        /// How many records it has.
        records: usize,
        /// Where reading should go on.
        position: Position,
    },
    /// No token of a file counts towards the loss.
    #[error(
        "in sequences of {length} tokens, no token of {} counts towards the loss; use longer sequences, or count the \
         prompts too",
        path.display()
    )]
    NoTargets {
        /// The file.
        path: PathBuf,
        /// Tokens of a sequence.
        length: usize,
    },
}

impl DataError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }
}
