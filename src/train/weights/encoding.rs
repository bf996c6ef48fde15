//! How weights get to the device, and into a layout.

use std::sync::Arc;

use super::stored::Stored;
use super::wide::{laid_out, wide_bytes};
use crate::gpu::kernels::training::encode::{EncodeScratch, Encoded, Needs};
use crate::gpu::weights::WEIGHTS;
use crate::gpu::{Batch, Bound, Buffer, Dispatch, Gpu, GpuError, Transcoded, Uploader};
use crate::tensor::Matrix;
use crate::train::TrainError;

/// Memory in which pieces are encoded.
pub(crate) struct Encoding<'a> {
    /// Room for an uncompressed piece.
    pub wide: &'a Arc<Buffer>,
    pub scratch: &'a EncodeScratch,
    /// What each piece needs.
    pub needs: &'a Buffer,
}

impl Encoding<'_> {
    /// Encodes what is at the beginning of the room for uncompressed weights, as piece `number`; with `clears`, so many
    /// bytes of zeros.
    pub fn encode(
        &self,
        gpu: &Gpu,
        encoded: &Encoded,
        number: usize,
        clears: Option<u64>,
    ) -> Result<(), GpuError> {
        let with = (self.needs, number as u32);
        let dispatches = encoded.encode(gpu, Bound::from(&**self.wide), self.scratch, with)?;
        gpu.submit("encode", |encoder| {
            if clears.is_some() {
                encoder.clear_buffer(self.wide.raw(), 0, clears);
            }
            Dispatch::record_all(encoder, &dispatches, Batch { tokens: 1, outputs: 1 });
        })?;
        Ok(())
    }
}

/// Brings the weights of a piece to the device, in a layout if there is something to encode them with.
pub(crate) async fn store(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    matrix: Matrix,
    bits: &[u16],
    number: usize,
    encoding: Option<(&Encoding<'_>, Transcoded)>,
) -> Result<Stored, TrainError> {
    let Matrix { rows, cols } = matrix;
    let words = laid_out(bits, cols);
    let needs =
        encoding.and_then(|(encoding, layout)| Some((encoding, layout, Encoded::needs(layout, cols, bits)?)));
    let Some((encoding, layout, (format, needs))) = needs else {
        let buffer = gpu.buffer(label, wide_bytes(rows, cols), WEIGHTS)?;
        uploader.write(&buffer, 0, &words).await?;
        return Ok(if encoding.is_some() { Stored::Copied(buffer) } else { Stored::Raw(buffer) });
    };
    let encoded = Encoded::new(gpu, label, matrix, format, needs.with_slack(layout, bits.len()))?;
    uploader.write(&**encoding.wide, 0, &words).await?;
    encoding.encode(gpu, &encoded, number, None)?;
    Ok(Stored::Encoded(Box::new(encoded)))
}

/// Room for a piece whose weights need more than they have: more of the same layout, or, where that would do no good,
/// as much as they take uncompressed.
pub(crate) fn grown(
    gpu: &Gpu,
    label: &str,
    matrix: Matrix,
    encoded: &Encoded,
    needs: &Needs,
) -> Result<Stored, GpuError> {
    if encoded.could_hold(needs) {
        let room = needs.with_slack(encoded.layout(), matrix.rows * matrix.cols);
        let more = Encoded::new(gpu, label, matrix, encoded.format(), room)?;
        return Ok(Stored::Encoded(Box::new(more)));
    }
    gpu.buffer(label, wide_bytes(matrix.rows, matrix.cols), WEIGHTS).map(Stored::Copied)
}
