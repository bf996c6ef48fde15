//! What can go wrong with streaming.

use crate::archive::ArchiveError;
use crate::gpu::GpuError;

/// Why weights could not be streamed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Not even one stage at a time fits.
    #[error(
        "a budget of {budget} bytes of device memory is too small: this model needs at least {minimum}, \
         of which {working_set} are for sessions"
    )]
    BudgetTooSmall {
        /// What there is.
        budget: u64,
        /// The smallest budget that would do.
        minimum: u64,
        /// What is kept for sessions: a shorter context needs less.
        working_set: u64,
    },
    /// A file could not be read, or was changed.
    #[error(transparent)]
    File(#[from] ArchiveError),
    /// The device refused.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// No thread could be made to read from, or it has ended.
    #[error("there is no thread to read weights from")]
    NoReader,
}
