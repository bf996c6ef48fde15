//! Converting dense tiles on the device to the layout that is requested.

use super::transcode::ToFast;
use super::transcode_tiered::ToTiered;
use super::transcoding::{Transcoding, transcode, transcode_joined};
use crate::codec::Payload;
use crate::gpu::weights::layouts::{Transcoded, fast};
use crate::gpu::weights::{DeviceMatrix, Join, Tiles};
use crate::gpu::{Gpu, GpuError, Uploader};

/// Maximum temporary bytes next to dense tiles and the transcoded weights: the measurements of each row, and what
/// the kernel needs besides the table. Both are downloaded.
pub(crate) fn most_bytes_beside(rows: usize, cols: usize) -> u64 {
    let row_words = ToFast::ROW_WORDS.max(ToTiered::ROW_WORDS) as u64;
    let measured = Gpu::buffer_bytes(4 * row_words * rows as u64) + 4096;
    2 * (measured + Gpu::buffer_bytes(fast::most_found_bytes(rows, cols)))
}

impl DeviceMatrix {
    /// Uploads a tiled payload and transcodes it to `layout`. A payload of another type than BF16, or one that the
    /// layout does not suit, stays dense. `None` if [`Self::upload_tiled`] returns `None`.
    pub async fn upload_transcoded(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        payload: &Payload<'_>,
        layout: Transcoded,
    ) -> Result<Option<Self>, GpuError> {
        let Some(tiles) = Tiles::for_products(payload.head(), payload.precision()) else { return Ok(None) };
        let Some(block) = tiles.transcoded_row_block_bytes(layout) else {
            return Self::upload_tiled(gpu, uploader, label, payload).await;
        };
        let dense = Self::upload_units(gpu, uploader, label, payload.bytes(), &tiles, block).await?;
        dense.into_transcoded(gpu, uploader, label, layout).await.map(Some)
    }

    /// The same weights in `layout`, or unchanged if they should stay dense. Their parts must [have
    /// room](Tiles::transcoded_row_block_bytes) for it.
    pub async fn into_transcoded(
        self,
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        layout: Transcoded,
    ) -> Result<Self, GpuError> {
        match layout {
            Transcoded::Fast => transcode::<ToFast>(gpu, uploader, label, self).await,
            Transcoded::Tiered => transcode::<ToTiered>(gpu, uploader, label, self).await,
        }
    }

    /// Like `into_transcoded` for several matrices, each with the offset of its results in a token's. Matrices with
    /// the same format are joined.
    pub async fn into_transcoded_joined(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        matrices: Vec<(Self, usize)>,
        join: Join,
        layout: Transcoded,
    ) -> Result<Vec<Self>, GpuError> {
        match layout {
            Transcoded::Fast => transcode_joined::<ToFast>(gpu, uploader, label, matrices, join).await,
            Transcoded::Tiered => transcode_joined::<ToTiered>(gpu, uploader, label, matrices, join).await,
        }
    }
}
