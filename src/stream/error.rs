//! Errors of streaming.

use crate::archive::ArchiveError;
use crate::gpu::GpuError;

/// Why weights could not be streamed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The budget is too small even if every possible stage is streamed.
    #[error(
        "a budget of {budget} bytes of device memory is too small: this model needs at least {minimum}, \
         of which {working_set} are for sessions{}",
        of_compressed(*budget, *compressed)
    )]
    BudgetTooSmall {
        /// The budget.
        budget: u64,
        /// The smallest sufficient budget.
        minimum: u64,
        /// Bytes reserved for sessions: a shorter context needs less.
        working_set: u64,
        /// A sufficient budget for the same weights in compressed form, if they are not compressed.
        compressed: Option<u64>,
    },
    /// A file could not be read, or was changed.
    #[error(transparent)]
    File(#[from] ArchiveError),
    /// An operation on the device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The system did not start a thread.
    #[error("cannot start the thread that {does}: {reason}")]
    NoThread {
        /// What the thread would do, as a verb with its object.
        does: &'static str,
        /// What the system reports.
        reason: String,
    },
    /// A thread of the library panicked: a defect in bantam.
    #[error("the thread that {does} panicked: {message}; this is an error in bantam, please report it")]
    Panicked {
        /// What the thread does, as a verb with its object.
        does: &'static str,
        /// The message of the panic.
        message: String,
    },
    /// The work was cancelled because its result is no longer needed.
    #[error("streaming was stopped, because the model was dropped")]
    Stopped,
}

impl StreamError {
    /// The error that a thread could not be started.
    pub(crate) fn no_thread(does: &'static str, reason: impl ToString) -> Self {
        Self::NoThread { does, reason: reason.to_string() }
    }
}

/// Describes how compressing would change the required budget.
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
