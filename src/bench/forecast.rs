//! Predicts a model's speed under a plan from short measurements.

use std::time::Instant;

use serde::Serialize;

use super::error::BenchError;
use super::form::{Form, Original};
use super::{Bench, Timing};
use crate::archive::{ModelFiles, Stored, Weight};
use crate::codec::Precision;
use crate::codec::grid::LANES;
use crate::gpu::kernels::matvec::{self, Product};
use crate::gpu::weights::layouts::{Transcoded, raw};
use crate::gpu::weights::{DeviceMatrix, RowBlocks};
use crate::gpu::{Batch, Dispatch, Gpu, KernelChoices, Slot, SlotKind, Uploader};
use crate::stream::{Plan, StreamedStage};
use crate::tensor::Matrix;

/// Bytes of stored weights to sample; at least one matrix.
const SAMPLE: usize = 32 << 20;

/// Row blocks to decode at a time.
const AT_ONCE: usize = 16;

/// Bytes to read at a time.
const PIECE: usize = 256 << 10;

/// The predicted speed of a model, measured with some of its matrices.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// Whether streamed weights are decoded on the way to a slot.
    pub decoded: bool,
    /// 10⁹ bytes of the file brought to a slot a second, including any decoding; `None` if nothing is
    /// streamed.
    pub read_gb_per_s: Option<f64>,
    /// 10⁹ bytes in slots (uncompressed weights or dense tiles) that products read a second; `None` if
    /// nothing is streamed.
    pub streamed_gb_per_s: Option<f64>,
    /// 10⁹ bytes of resident weights that products read a second.
    pub resident_gb_per_s: f64,
    /// Time to bring the streamed weights of a token to a slot.
    pub reading_seconds: f64,
    /// Time of the products of a token.
    pub computing_seconds: f64,
    /// Tokens a second if reading and computing overlap and nothing else takes time: roughly an upper bound.
    /// If the CPU decodes and also computes, each takes all of its cores, so their times add up.
    pub tokens_per_s: f64,
}

/// Bytes that a token reads.
#[derive(Debug, Clone, Copy)]
struct Token {
    /// Whether streamed weights are decoded on the way to a slot.
    decoded: bool,
    /// Bytes of the file.
    read: u64,
    /// Bytes in slots.
    streamed: u64,
    /// Bytes of resident weights.
    resident: u64,
}

impl Token {
    /// The forecast for rates in bytes a second: `streaming` has those of the file and of slots, if anything
    /// is streamed; `resident` is that of resident weights.
    fn foretell(self, streaming: Option<(f64, f64)>, resident: f64) -> Forecast {
        let seconds = |bytes: u64, rate: f64| bytes as f64 / rate.max(1.0);
        let (mut reading, mut computing) = (0.0, seconds(self.resident, resident));
        if let Some((file, slots)) = streaming {
            reading = seconds(self.read, file);
            computing += seconds(self.streamed, slots);
        }
        let both = if self.decoded { computing + reading } else { reading.max(computing) };
        Forecast {
            decoded: self.decoded,
            read_gb_per_s: streaming.map(|(file, _)| file / 1e9),
            streamed_gb_per_s: streaming.map(|(_, slots)| slots / 1e9),
            resident_gb_per_s: resident / 1e9,
            reading_seconds: reading,
            computing_seconds: computing,
            tokens_per_s: 1.0 / both.max(1e-9),
        }
    }
}

impl Bench<'_> {
    /// Predicts the speed of single tokens of the compressed model `files` under `plan`. `None` if no matrix
    /// is compressed.
    ///
    /// Reads some of the model's matrices and multiplies with them, once streamed and once resident.
    /// Attention and everything else that a token needs are not counted. The file is read as it is: in the
    /// system's cache or not.
    pub async fn forecast(
        &mut self,
        files: &ModelFiles,
        plan: &Plan,
    ) -> Result<Option<Forecast>, BenchError> {
        let sample = sample(files)?;
        if sample.is_empty() {
            return Ok(None);
        }
        let resident = match plan.transcoded {
            None => Form::Dense,
            Some(Transcoded::Fast) => Form::Fast,
            Some(Transcoded::Tiered) => Form::Tiered,
        };
        // Reading comes first: afterwards, the system has the file in its cache.
        let streamed = if plan.decodes() { Form::Raw } else { Form::Dense };
        let read = match (plan.is_resident(), plan.decodes()) {
            (true, _) => None,
            (false, true) => Some(self.decode_rate(plan.slot_kind, &sample).await?),
            (false, false) => Some(self.read_rate(&sample).await?),
        };
        // Slots may be textures when resident weights are not, or the reverse.
        let textures = plan.slot_kind == SlotKind::WideTexture;
        let in_slots = self.gpu.with_choices(KernelChoices { textures, ..*self.gpu.choices() });
        let read = match read {
            Some(read) => Some((read, self.product_rate(&in_slots, streamed, &sample).await?)),
            None => None,
        };
        let gpu = self.gpu.clone();
        let resident = match read {
            Some((_, rate)) if resident == streamed && gpu.choices().textures == textures => rate,
            _ => self.product_rate(&gpu, resident, &sample).await?,
        };
        let token = Token {
            decoded: plan.decodes(),
            read: plan.bytes_a_pass,
            streamed: plan.streamed_bytes,
            resident: plan.resident_a_token,
        };
        Ok(Some(token.foretell(read, resident)))
    }

    /// Bytes a second that are read from files into a slot.
    async fn read_rate(&mut self, sample: &[Weight<'_>]) -> Result<f64, BenchError> {
        let slots = Slot::several(&self.gpu, SlotKind::Dense, 1, PIECE as u64)?;
        let Some(slot) = slots.first() else { return Ok(0.0) };
        let mut writing = slot.start_writing(&self.gpu);
        writing.granted().await?;
        let mut piece = vec![0; PIECE];
        let (mut bytes, mut seconds) = (0, 0.0);
        for weight in sample {
            let reader = weight.reader()?;
            let len = stored_len(weight)?;
            let began = Instant::now();
            for start in (0..len).step_by(PIECE) {
                let piece = &mut piece[..(len - start).min(PIECE)];
                reader.read(start, piece)?;
                writing.write(0, piece)?;
            }
            seconds += began.elapsed().as_secs_f64();
            bytes += len;
        }
        writing.finish()?;
        Ok(bytes as f64 / seconds.max(1e-9))
    }

    /// Bytes of files that are decoded into a slot a second, including the copy that some devices need.
    async fn decode_rate(&mut self, kind: SlotKind, sample: &[Weight<'_>]) -> Result<f64, BenchError> {
        let readers = sample.iter().map(Weight::reader).collect::<Result<Vec<_>, _>>()?;
        let each = readers.iter().map(|reader| raw::row_block_bytes(reader.dtype(), reader.cols()));
        let each = each.max().unwrap_or(0) as u64;
        // Blocks that are decoded in parallel need one place each.
        let mut stages = Vec::new();
        for reader in &readers {
            let all = reader.rows().div_ceil(LANES);
            for first in (0..all).step_by(AT_ONCE) {
                let row_blocks = first..all.min(first + AT_ONCE);
                let mut stage = StreamedStage::default();
                stage.add_decoded(reader, Precision::Lossless, &[RowBlocks { row_blocks, at: 0, each }]);
                stages.push(stage);
            }
        }
        let slots = Slot::several(&self.gpu, kind, 1, AT_ONCE as u64 * each)?;
        let Some(slot) = slots.first() else { return Ok(0.0) };
        let mut writing = slot.start_writing(&self.gpu);
        writing.granted().await?;
        let began = Instant::now();
        for stage in &stages {
            self.check()?;
            stage.bring(&mut writing)?;
        }
        let mut seconds = began.elapsed().as_secs_f64();
        writing.finish()?;
        if kind.beside(&self.gpu) > 0 {
            let copies = |encoder: &mut wgpu::CommandEncoder| {
                stages.iter().for_each(|stage| slot.record(encoder, stage.end()))
            };
            seconds += self.clock.commands(copies).await?.as_secs_f64();
        }
        let bytes: u64 = stages.iter().map(StreamedStage::bytes).sum();
        Ok(bytes as f64 / seconds.max(1e-9))
    }

    /// Bytes a second of weights in `form`, stored as `gpu` keeps them, that products with single tokens
    /// read.
    async fn product_rate(
        &mut self,
        gpu: &Gpu,
        form: Form,
        sample: &[Weight<'_>],
    ) -> Result<f64, BenchError> {
        let mut uploader = Uploader::new(gpu)?;
        let mut weights = Vec::new();
        for weight in sample {
            let (Stored::Compressed(payload), &[rows, cols]) = (weight.stored()?, weight.shape) else {
                continue;
            };
            let matrix = Matrix { rows, cols };
            // Only the raw form is made from the original bytes.
            let bytes = if form == Form::Raw { payload.decode()? } else { Vec::new() };
            let of = Original { dtype: weight.dtype, matrix, bytes: &bytes, payload: &payload };
            weights.extend(form.upload(gpu, &mut uploader, &of).await?);
        }
        let most = |of: fn(&DeviceMatrix) -> usize| weights.iter().map(of).max().unwrap_or(0);
        let (x_stride, y_stride) = (most(DeviceMatrix::padded_cols), most(|weights| weights.matrix.rows));
        let buffer = |len: usize| gpu.buffer("forecast", 4 * len as u64, wgpu::BufferUsages::STORAGE);
        let (x, y) = (buffer(x_stride)?, buffer(y_stride)?);
        let mut dispatches: Vec<Dispatch> = Vec::new();
        for weights in &weights {
            let (x, y, bias) = (&x, &y, None);
            let product = Product { weights, x, x_stride, y, y_stride, bias, accumulate: false };
            dispatches.extend(matvec::dispatches(gpu, &product)?);
        }
        let mut samples = Vec::new();
        // The first run compiles the kernels.
        for run in 0..4 {
            self.check()?;
            let batch = Batch { tokens: 1, outputs: 1 };
            let taken = self.clock.dispatches(&dispatches, batch).await?.as_secs_f64();
            samples.extend((run > 0).then_some(taken));
        }
        Ok(Timing::of(samples).rate(weights.iter().map(|weights| weights.bytes() as f64).sum()))
    }
}

/// Some of the model's compressed matrices, but not the embedding.
fn sample(files: &ModelFiles) -> Result<Vec<Weight<'_>>, BenchError> {
    let mut sum = 0;
    let mut sample = Vec::new();
    let is_product = |weight: &Weight<'_>| weight.shape.len() == 2 && weight.name.contains(".layers.");
    for weight in files.weights().filter(is_product) {
        let has_tiles = match weight.stored()? {
            Stored::Compressed(payload) => payload.kept().is_some(),
            Stored::Plain(_) => false,
        };
        if has_tiles {
            sum += stored_len(&weight)?;
            sample.push(weight);
        }
        if sum >= SAMPLE {
            break;
        }
    }
    Ok(sample)
}

/// Bytes of a weight's payload.
fn stored_len(weight: &Weight<'_>) -> Result<usize, BenchError> {
    Ok(match weight.stored()? {
        Stored::Compressed(payload) => payload.bytes().len(),
        Stored::Plain(bytes) => bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_rates_make_the_seconds_that_they_make_on_paper() {
        // 2 GB at 4 GB/s, and nothing else.
        let token = Token { decoded: false, read: 0, streamed: 0, resident: 2_000_000_000 };
        let resident = token.foretell(None, 4e9);
        assert_eq!((resident.reading_seconds, resident.computing_seconds), (0.0, 0.5));
        assert_eq!((resident.tokens_per_s, resident.resident_gb_per_s), (2.0, 4.0));
        assert_eq!((resident.read_gb_per_s, resident.streamed_gb_per_s), (None, None));
        // And 3 GB of a file at 2 GB/s, which are 5 GB in slots, at 10 GB/s: one beside the other.
        let token = Token { read: 3_000_000_000, streamed: 5_000_000_000, ..token };
        let streamed = token.foretell(Some((2e9, 10e9)), 4e9);
        assert_eq!((streamed.reading_seconds, streamed.computing_seconds), (1.5, 1.0));
        assert_eq!((streamed.read_gb_per_s, streamed.streamed_gb_per_s), (Some(2.0), Some(10.0)));
        assert!((streamed.tokens_per_s * 1.5 - 1.0).abs() < 1e-9);
        // A CPU that decodes and computes does one after the other.
        let decoded = Token { decoded: true, ..token }.foretell(Some((2e9, 10e9)), 4e9);
        assert_eq!((decoded.tokens_per_s, decoded.decoded), (0.4, true));
        // Computing may take longer than reading.
        assert_eq!(token.foretell(Some((30e9, 2e9)), 4e9).tokens_per_s, 1.0 / 3.0);
    }
}
