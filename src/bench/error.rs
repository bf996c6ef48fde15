//! What can go wrong in a benchmark.

use crate::archive::ArchiveError;
use crate::codec::CodecError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::stream::StreamError;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model, its files or the device refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A temporary file could not be written.
    #[error("temporary files of the benchmark: {0}")]
    Io(#[from] std::io::Error),
    /// Computing from one form gives different bits than from the first, so its speed means nothing.
    #[error("{what} from {form} weights has different bits than from {first} weights")]
    Different {
        /// What was computed.
        what: String,
        /// The form.
        form: &'static str,
        /// The form it was compared with.
        first: &'static str,
    },
    /// The weights would not fit in memory.
    #[error("out of memory: {wanted} bytes are needed, but {available} are free")]
    NotEnoughMemory {
        /// Bytes of the weights.
        wanted: u64,
        /// Bytes that are free.
        available: u64,
    },
}

impl BenchError {
    /// Whether less would have fitted: nothing is wrong then, and other figures can still be had.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::NotEnoughMemory { .. }
                | Self::Model(
                    ModelError::Gpu(GpuError::OutOfMemory { .. } | GpuError::BindingTooLarge { .. })
                        | ModelError::Stream(StreamError::BudgetTooSmall { .. })
                )
        )
    }
}

impl From<GpuError> for BenchError {
    fn from(error: GpuError) -> Self {
        Self::Model(error.into())
    }
}

impl From<StreamError> for BenchError {
    fn from(error: StreamError) -> Self {
        Self::Model(error.into())
    }
}

impl From<ArchiveError> for BenchError {
    fn from(error: ArchiveError) -> Self {
        Self::Model(error.into())
    }
}
