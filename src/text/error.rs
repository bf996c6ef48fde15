//! Errors of text and tokens.

use std::io;
use std::path::{Path, PathBuf};

/// Why text could not be turned into tokens, or why no next token could be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder has no tokenizer.
    #[error(
        "{} is missing; put the model's tokenizer.json there (bantam does not read a tokenizer.model or a \
         vocab.json alone; Hugging Face transformers can save them as tokenizer.json)",
        path.display()
    )]
    NoTokenizer {
        /// The path where it was expected.
        path: PathBuf,
    },
    /// A file exists, but its contents cannot be used.
    #[error("{} cannot be used: {reason}; get the file again from the model's source", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer could not encode or decode.
    #[error("the tokenizer of {} failed: {reason}", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// What the tokenizer reports.
        reason: String,
    },
    /// A message contains the name of a control token, and the tokenizer has no other tokens for that text.
    #[error(
        "a message contains the text {name:?}, which the tokenizer of {} can only encode as the control token of \
         that name; remove it from the message",
        path.display()
    )]
    ControlText {
        /// The tokenizer's file.
        path: PathBuf,
        /// The token's name.
        name: String,
    },
    /// The chat template rejected the conversation, or failed while it ran.
    #[error("the chat template of {} failed: {reason}", path.display())]
    Template {
        /// The file that has the template.
        path: PathBuf,
        /// The template's message.
        reason: String,
    },
    /// A sampling option is out of its range.
    #[error("{name} is {value}, but must be {range}")]
    BadOption {
        /// The option.
        name: &'static str,
        /// The given value.
        value: f32,
        /// The allowed range.
        range: &'static str,
    },
    /// No token has a usable logit.
    #[error("no token can be chosen: all {count} logits are NaN or minus infinity")]
    NoCandidate {
        /// The number of logits.
        count: usize,
    },
}

impl TextError {
    pub(super) fn bad_file(path: &Path, reason: impl ToString) -> Self {
        Self::BadFile { path: path.into(), reason: reason.to_string() }
    }
}
