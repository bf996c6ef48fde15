//! What can go wrong with models in an application.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::text::{GenerationError, TextError};

/// Why a runtime could not do something. What is wrong with a device or a file is the same variant, whatever
/// was being done.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The device is lost, has no memory left, or refused something else.
    #[error(transparent)]
    Gpu(GpuError),
    /// A weight file is missing, damaged or was changed.
    #[error(transparent)]
    Archive(ArchiveError),
    /// The model cannot be loaded or run, or does not fit the budget.
    #[error(transparent)]
    Model(ModelError),
    /// Tokenizer, chat template or sampling failed.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The caller wanted it to stop.
    #[error("cancelled")]
    Cancelled,
    /// The model is not made for chatting.
    #[error("{} has no chat template; complete a text instead", folder.display())]
    NoChatTemplate {
        /// The model's folder.
        folder: PathBuf,
    },
    /// A session writes one text at a time.
    #[error("the session is generating already; drop that stream first, or open another session")]
    SessionBusy,
    /// The system has no thread to work on, or the one that worked has ended in a panic.
    #[error("the thread that does the work is gone: {0}")]
    NoThread(String),
}

impl RuntimeError {
    /// Whether the device is gone: everything on it is then, and another [`Runtime`](super::Runtime) is to
    /// be made.
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
