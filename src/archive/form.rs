//! The kind of file that an archive was made from, and how the container records it.

use std::collections::HashMap;

use crate::tensor::SourceFile;

/// The version of a container whose original is a safetensors file.
pub const VERSION: &str = "1";
/// The version of a container that names the form of its original.
pub const VERSION_OF_FORMS: &str = "2";
/// Metadata key of the container version.
pub const VERSION_KEY: &str = "bantam.format";
/// Metadata key of the original's form, from [`VERSION_OF_FORMS`] on.
pub const FORM_KEY: &str = "bantam.original_form";
/// The form of an original that is a GGUF file.
pub const GGUF_FORM: &str = "gguf";

/// The kind of an original file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A safetensors file.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

impl Form {
    /// The form of `file`.
    pub(super) fn of(file: &SourceFile) -> Self {
        match file {
            SourceFile::Safetensors(_) => Self::Safetensors,
            SourceFile::Gguf(_) => Self::Gguf,
        }
    }

    /// Metadata that records the form. A safetensors original gets the same metadata as before forms existed;
    /// any other gets a version that older readers refuse.
    pub(super) fn metadata(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Safetensors => vec![(VERSION_KEY, VERSION)],
            Self::Gguf => vec![(VERSION_KEY, VERSION_OF_FORMS), (FORM_KEY, GGUF_FORM)],
        }
    }

    /// The form that a container's metadata names, or an error with the version if it is unknown.
    pub(super) fn from_metadata(metadata: &HashMap<String, String>, version: &str) -> Result<Self, String> {
        match (version, metadata.get(FORM_KEY).map(|form| &form[..])) {
            (VERSION, _) => Ok(Self::Safetensors),
            (VERSION_OF_FORMS, Some(GGUF_FORM)) => Ok(Self::Gguf),
            (VERSION_OF_FORMS, Some(form)) => Err(format!("{version} ({form:?})")),
            (version, _) => Err(version.into()),
        }
    }
}
