//! The forms of weights on a device. To add one, add an entry here.

use super::error::BenchError;
use crate::archive::{ModelFiles, WeightSource};
use crate::codec::Payload;
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::weights::layouts::Transcoded;
use crate::gpu::{Gpu, GpuError, Uploader};
use crate::model::{Layout, LoadOptions};
use crate::tensor::{Dtype, Matrix};

/// How weights are stored on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Uncompressed.
    Raw,
    /// In the tiles of their file: the dense layout.
    Dense,
    /// Transcoded to the fast layout; BF16 only.
    Fast,
    /// Transcoded to the tiered layout; BF16 only.
    Tiered,
}

/// A matrix from which all forms are made: original bytes, and payload.
pub(super) struct Original<'a> {
    pub dtype: Dtype,
    pub matrix: Matrix,
    pub bytes: &'a [u8],
    pub payload: &'a Payload<'a>,
}

impl Form {
    /// All forms. Each is compared with the first.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Dense, Self::Fast, Self::Tiered];

    /// The name in tables and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Dense => "dense",
            Self::Fast => "fast",
            Self::Tiered => "tiered",
        }
    }

    /// The options that load a compressed model in this form.
    pub fn load_options(self) -> LoadOptions {
        let layout = match self {
            Self::Raw | Self::Dense => Layout::Dense,
            Self::Fast => Layout::Fast,
            Self::Tiered => Layout::Tiered,
        };
        LoadOptions { raw: self == Self::Raw, layout, ..LoadOptions::default() }
    }

    /// Approximate bytes of a compressed model's weights on a device.
    pub(super) fn bytes_of(self, files: &ModelFiles) -> u64 {
        let stored = |source: &WeightSource| match source {
            WeightSource::Compressed(archive) => archive.tensors().iter().map(|t| t.payload.len()).sum(),
            WeightSource::Plain(file) => file.tensors().iter().map(|t| t.range.len()).sum::<usize>(),
        };
        match self {
            Self::Raw => files.weights().map(|w| w.original_len as u64).fold(0, u64::saturating_add),
            Self::Dense => files.sources().iter().map(|source| stored(source) as u64).sum(),
            // About an eighth more than dense.
            Self::Fast => Self::Dense.bytes_of(files) / 8 * 9,
            // About a fortieth more.
            Self::Tiered => Self::Dense.bytes_of(files) / 40 * 41,
        }
    }

    /// Uploads a matrix; `None` if it cannot have this form.
    pub(super) async fn upload(
        self,
        gpu: &Gpu,
        uploader: &mut Uploader,
        of: &Original<'_>,
    ) -> Result<Option<DeviceMatrix>, BenchError> {
        let label = self.name();
        Ok(match self {
            Self::Raw => {
                DeviceMatrix::upload_raw(gpu, uploader, label, of.dtype, of.matrix, of.bytes).await?
            }
            Self::Dense => DeviceMatrix::upload_tiled(gpu, uploader, label, of.payload).await?,
            Self::Fast => self.transcoded(gpu, uploader, of, Transcoded::Fast).await?,
            Self::Tiered => self.transcoded(gpu, uploader, of, Transcoded::Tiered).await?,
        })
    }

    async fn transcoded(
        self,
        gpu: &Gpu,
        uploader: &mut Uploader,
        of: &Original<'_>,
        to: Transcoded,
    ) -> Result<Option<DeviceMatrix>, GpuError> {
        DeviceMatrix::upload_transcoded(gpu, uploader, self.name(), of.payload, to).await
    }
}
