//! Errors of models in an application.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::stream::StreamError;
use crate::text::{GenerationError, TextError};

/// Why a runtime operation failed. An error of a device or a file has the same variant, whatever the runtime
/// was doing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The device is lost, out of memory, or rejected a command.
    #[error(transparent)]
    Gpu(GpuError),
    /// A weight file is missing, damaged or changed.
    #[error(transparent)]
    Archive(ArchiveError),
    /// The model cannot be loaded or run, or does not fit the budget.
    #[error(transparent)]
    Model(ModelError),
    /// The tokenizer, the chat template or sampling failed.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The caller cancelled the operation.
    #[error("cancelled")]
    Cancelled,
    /// The model has no chat template.
    #[error("{} has no chat template; complete a text instead", folder.display())]
    NoChatTemplate {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The session is already generating a text.
    #[error("the session is already generating; drop that stream first, or open another session")]
    SessionBusy,
    /// The system did not start a worker thread.
    #[error("cannot start a worker thread: {reason}")]
    NoThread {
        /// What the system reports.
        reason: String,
    },
    /// A worker thread panicked, which is an error in bantam. Later work is not affected.
    #[error("a worker thread panicked: {message}; this is an error in bantam, please report it")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl RuntimeError {
    /// Whether the device is lost. All memory on it is lost too: create another [`Runtime`](super::Runtime).
    pub fn is_device_lost(&self) -> bool {
        matches!(self, Self::Gpu(GpuError::DeviceLost(_)))
    }
}

impl From<GpuError> for RuntimeError {
    fn from(error: GpuError) -> Self {
        Self::Gpu(error)
    }
}

impl From<ArchiveError> for RuntimeError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Cancelled => Self::Cancelled,
            other => Self::Archive(other),
        }
    }
}

impl From<ModelError> for RuntimeError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Gpu(error) => error.into(),
            ModelError::Archive(error) => error.into(),
            ModelError::Stream(StreamError::Panicked { message, .. }) => Self::Panicked { message },
            other => Self::Model(other),
        }
    }
}

impl From<GenerationError> for RuntimeError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::Model(error) => error.into(),
            GenerationError::Text(error) => error.into(),
        }
    }
}
