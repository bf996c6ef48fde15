//! Errors of a model.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::gpu::GpuError;
use crate::model::context_limit::ContextLimit;
use crate::model::family::SUPPORTED;
use crate::stream::StreamError;

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A weight file is missing, damaged or incomplete.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The device returned an error.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// Layers could not be streamed.
    #[error(transparent)]
    Stream(StreamError),
    /// `config.json` cannot be read or contradicts itself.
    #[error("{path}: {what}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// bantam can compress and restore the model, but not run it.
    #[error("{path}: {what}")]
    NotRunnable {
        /// The file or folder.
        path: PathBuf,
        /// What it is, and what you can do with it.
        what: String,
    },
    /// bantam does not know the architecture.
    #[error("{path}: architecture {name} is not supported; supported are {}", SUPPORTED.join(", "))]
    UnsupportedArchitecture {
        /// The configuration file.
        path: PathBuf,
        /// The architecture that the file names.
        name: String,
    },
    /// An adapter cannot be read, or is for another model.
    #[error("{path}: {what}")]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor has another shape or type than the configuration asks for.
    #[error("tensor {tensor}: {found}, but the configuration asks for {expected}")]
    WrongTensor {
        /// The tensor.
        tensor: String,
        /// The right shape or types.
        expected: String,
        /// The actual shape or type.
        found: String,
    },
    /// The configuration does not use a tensor of the file. Results without it would be those of another
    /// model.
    #[error(
        "tensor {tensor}{} is in the file, but a {architecture} with this config.json does not use it: results \
         without it would be wrong ({hint}); check that config.json belongs to the file",
        if *others > 0 { format!(" (and {others} more)") } else { String::new() }
    )]
    UnreadTensor {
        /// The first such tensor, by name.
        tensor: String,
        /// The number of further ones.
        others: usize,
        /// The architecture that the configuration names.
        architecture: String,
        /// What may be wrong.
        hint: String,
    },
    /// A token id outside the vocabulary.
    #[error(
        "token {token} is outside the vocabulary of {vocab}; check that the tokenizer belongs to this model"
    )]
    NoSuchToken {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A token's logits have infinities or NaNs, so it has no likelihood.
    #[error(
        "the logits of token {token} at position {position} are not all finite numbers: weights contain infinities \
         or NaNs, or config.json belongs to another model; compare the files with their source"
    )]
    NotFinite {
        /// The token before the logits.
        token: u32,
        /// Its position in the sequence.
        position: usize,
    },
    /// The sequence is longer than the session's context.
    #[error(
        "the sequence needs {needed} positions, but the session has room for {context}; shorten the text, or \
         make the session with a longer context"
    )]
    ContextFull {
        /// Positions that the sequence needs.
        needed: usize,
        /// Positions of the session.
        context: usize,
    },
    /// The caller asked for all logits of a session that computes only the last token's.
    #[error("this session computes only the last token's logits; create it with Outputs::All")]
    LastOutputsOnly,
    /// The device cannot have, or cannot compute with, a context of that length.
    #[error(
        "a context of {context} positions is too long: on this device a session of this model has at most {most}, \
         because {limit}"
    )]
    ContextTooLong {
        /// Requested positions.
        context: usize,
        /// Maximum positions.
        most: usize,
        /// What limits them.
        limit: ContextLimit,
    },
    /// The list of tokens is empty.
    #[error("there are no tokens; a prompt needs at least one")]
    NoTokens,
}

impl From<StreamError> for ModelError {
    /// An error of a file or a device has the same variant, whether weights are streamed or not.
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::File(error) => Self::Archive(error),
            StreamError::Gpu(error) => Self::Gpu(error),
            other => Self::Stream(other),
        }
    }
}
