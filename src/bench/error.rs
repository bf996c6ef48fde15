//! Errors of a benchmark.

use crate::archive::ArchiveError;
use crate::codec::CodecError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::stream::StreamError;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model, its files or the device returned an error.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A temporary file could not be written.
    #[error("cannot write a temporary file of the benchmark: {0}")]
    Io(#[from] std::io::Error),
    /// Two forms compute different bits, so their speeds mean nothing.
    #[error(
        "{what}: {form} and {first} weights give different bits, which is an error in bantam or the driver; \
         please report it"
    )]
    Different {
        /// The computation.
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
    /// Whether less would have fitted. Then nothing is wrong, and other figures can still be measured.
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
