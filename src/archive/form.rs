//! The kind of file that an archive was made from, and how the container records it.

use std::collections::HashMap;

use crate::tensor::SourceFile;

/// The version of a container whose original is a safetensors file.
pub const VERSION: &str = "1";
/// The version of a container that names the form of its original.
pub const VERSION_OF_FORMS: &str = "2";
/// The version of a container that holds differences to another model.
pub const VERSION_OF_BASES: &str = "3";
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

    /// Metadata that records the form, and whether there are differences to another model. A file without
    /// either gets the metadata of the first version; any other gets a version that older readers refuse.
    pub(super) fn metadata(self, has_base: bool) -> Vec<(&'static str, &'static str)> {
        let version = match (has_base, self) {
            (true, _) => VERSION_OF_BASES,
            (false, Self::Safetensors) => VERSION,
            (false, Self::Gguf) => VERSION_OF_FORMS,
        };
        match self {
            Self::Safetensors => vec![(VERSION_KEY, version)],
            Self::Gguf => vec![(VERSION_KEY, version), (FORM_KEY, GGUF_FORM)],
        }
    }

    /// The form that a container's metadata names, or an error with the version if it is unknown.
    pub(super) fn from_metadata(metadata: &HashMap<String, String>, version: &str) -> Result<Self, String> {
        match (version, metadata.get(FORM_KEY).map(|form| &form[..])) {
            (VERSION, _) | (VERSION_OF_BASES, None) => Ok(Self::Safetensors),
            (VERSION_OF_FORMS | VERSION_OF_BASES, Some(GGUF_FORM)) => Ok(Self::Gguf),
            (VERSION_OF_FORMS | VERSION_OF_BASES, Some(form)) => Err(format!("{version} ({form:?})")),
            (version, _) => Err(version.into()),
        }
    }
}
