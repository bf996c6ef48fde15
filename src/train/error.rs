//! Errors of training.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::text::TextError;
use crate::train::data::DataError;

/// Why a model could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file of weights is missing, damaged or incomplete.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device returned an error.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The data is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The tokenizer or the chat template is wrong.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file of a checkpoint is missing, damaged, or of another version.
    #[error("{path}: {what}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor has another shape or type than what is trained.
    #[error("tensor {tensor}: {found}, but training needs {expected}")]
    WrongTensor {
        /// The tensor.
        tensor: String,
        /// Its type and shape.
        found: String,
        /// The right ones.
        expected: String,
    },
    /// Options do not go together.
    #[error("{what}")]
    Options {
        /// Which, and why.
        what: &'static str,
    },
    /// There is too little device memory.
    #[error(
        "training takes {needed} bytes of device memory, but {left} are left; shorter sequences, fewer of them, SGD or an \
         adapter take less"
    )]
    TooLittleMemory {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are left of the budget.
        left: u64,
    },
    /// A step was not ended, so that some weights have changed and others have not.
    #[error(
        "a step of the trainer was given up before it ended, and its weights have changed in part; begin again from a checkpoint"
    )]
    Torn,
    /// A run is to go on with another model than the one that its adapter was trained for.
    #[error("{path}: the adapter was trained for another model than {model}: their weights differ")]
    OtherBase {
        /// The adapter's folder.
        path: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// A batch is not what the trainer was made for.
    #[error("the batch has {found}, but the trainer was made for {expected}")]
    WrongBatch {
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// The loss is no finite number. No weight was changed.
    #[error(
        "the loss of step {step} is not a finite number; no weight was changed. A lower learning rate, or a longer \\
         warm-up, often helps"
    )]
    LossNotFinite {
        /// The step, from 1.
        step: u64,
    },
    /// Gradients or weights were no finite numbers.
    #[error(
        "step {step}: {what} of some weights were not finite numbers, and these weights were left as they were. A lower \\
         learning rate often helps"
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// Gradients, or new values.
        what: &'static str,
    },
    /// A defect of bantam.
    #[error("defect of bantam: {0}")]
    Internal(&'static str),
}
