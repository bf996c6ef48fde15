//! What can go wrong with streaming.

use crate::archive::ArchiveError;
use crate::gpu::GpuError;

/// Why weights could not be streamed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The budget does not even hold one stage at a time.
    #[error(
        "a budget of {budget} bytes of device memory is too small: this model needs at least {minimum}, \
         of which {working_set} are for sessions{}",
        of_compressed(*budget, *compressed)
    )]
    BudgetTooSmall {
        /// What there is.
        budget: u64,
        /// The smallest budget that would do.
        minimum: u64,
        /// What is kept for sessions: a shorter context needs less.
        working_set: u64,
        /// A budget that would do for the same weights if they were compressed, where they are not.
        compressed: Option<u64>,
    },
    /// A file could not be read, or was changed.
    #[error(transparent)]
    File(#[from] ArchiveError),
    /// The device refused.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The thread that reads weights could not be started, or has ended.
    #[error("the thread that reads weights could not be started, or has ended")]
    NoReader,
}

/// What compressing would change.
fn of_compressed(budget: u64, compressed: Option<u64>) -> String {
    match compressed {
        None => String::new(),
        Some(bytes) => {
            let enough = match bytes <= budget {
                true => "run within this budget, because layers can then be streamed".into(),
                false => format!("need no more than {bytes}"),
            };
            format!("; from compressed weights (`bantam compress`, without --raw) it would {enough}")
        }
    }
}
