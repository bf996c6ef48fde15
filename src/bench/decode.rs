//! Measures how fast tensors of every floating-point type are decoded into another buffer.

use serde::Serialize;

use super::contender::Repeats;
use super::error::BenchError;
use super::timing::{Patience, Timing};
use super::{Bench, weights};
use crate::codec::{Payload, encode};
use crate::gpu::kernels::decode::Resident;
use crate::gpu::{Batch, Buffer, Dispatch, download};
use crate::tensor::Dtype;

/// The result of decoding one element type.
#[derive(Debug, Clone, Serialize)]
pub struct DecodeFigure {
    /// The element type.
    pub dtype: String,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Compressed bits of an element.
    pub bits_per_weight: f64,
    /// The time to decode the whole matrix.
    #[serde(flatten)]
    pub timing: Timing,
    /// 10⁹ bytes written a second.
    pub gb_per_s: f64,
}

impl Bench<'_> {
    /// Decodes Gaussian weights of each floating-point type.
    pub async fn decode(&mut self) -> Result<Vec<DecodeFigure>, BenchError> {
        let mut all = Vec::new();
        for dtype in weights::types() {
            all.extend(self.decode_type(dtype).await?);
        }
        Ok(all)
    }

    /// `None` if the device has nothing to decode.
    async fn decode_type(&mut self, dtype: Dtype) -> Result<Option<DecodeFigure>, BenchError> {
        let [rows, cols] = self.effort.decoded;
        let bytes = weights::gaussian(dtype, rows * cols, 1);
        let encoded = encode(dtype, &[rows, cols], &bytes)?;
        let payload = Payload::parse(&encoded)?;
        let Some(resident) = Resident::upload(&self.gpu, &payload).await? else { return Ok(None) };
        let dispatches = resident.dispatches(&self.gpu)?;
        let mut repeats = Repeats::new(self.effort.pass);
        // The first run, which is not counted, compiles the kernel.
        self.decode_all(&dispatches, &mut repeats).await?;
        let mut samples = Vec::new();
        let patience = Patience::new(self.effort.runs, self.effort.figure);
        while patience.another(samples.len()) {
            self.check()?;
            samples.extend(self.decode_all(&dispatches, &mut repeats).await?);
        }
        let timing = Timing::of(samples);
        // Read some of the result, so that no driver can skip the decoding.
        if let Some((_, decoded)) = dispatches.first() {
            download(&self.gpu, decoded, 16).await?;
        }
        Ok(Some(DecodeFigure {
            dtype: dtype.to_string(),
            rows,
            cols,
            bits_per_weight: encoded.len() as f64 * 8.0 / (rows * cols) as f64,
            timing,
            gb_per_s: timing.rate(bytes.len() as f64) / 1e9,
        }))
    }
    /// Runs one pass and returns the seconds of one repetition; `None` for a run that is not counted.
    async fn decode_all(
        &mut self,
        dispatches: &[(Dispatch, Buffer)],
        repeats: &mut Repeats,
    ) -> Result<Option<f64>, BenchError> {
        let (count, one) = (repeats.count(), Batch { tokens: 1, outputs: 1 });
        let all = (0..count).flat_map(|_| dispatches).map(|(dispatch, _)| dispatch);
        let taken = self.clock.dispatches(all, one).await?;
        Ok(repeats.each(taken))
    }
}
