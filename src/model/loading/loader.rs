//! From tensors in files to weights on a device.

use std::sync::{Arc, Mutex};

use crate::archive::{ArchiveError, ModelFiles, Progress, TensorReader, Weight};
use crate::codec::Precision;
use crate::codec::grid::LANES;
use crate::gpu::weights::{DeviceMatrix, Piece, RowBlocks, Tiles, Words};
use crate::gpu::{Buffer, Gpu, MatrixBytes, SlotPlace, SlotWords, Sweep, Uploader, WideRoom};
use crate::model::compute::layer::{LayerWeights, ProductShape, Strides};
use crate::model::compute::session::BATCH;
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::files::reading::Reading;
use crate::model::plan::needs::{EMBEDDING, LAST_NORM, OUTPUT};
use crate::model::plan::planned::Planned;
use crate::model::weights::model::{Embedding, Model};
use crate::stream::{Passes, Ring, StreamedStage, TokenRows};
use crate::tensor::{Dtype, Matrix};

/// A product's matrix and bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub weights: DeviceMatrix,
    pub bias: Option<Buffer>,
}

impl Linear {
    pub fn bytes(&self) -> u64 {
        self.weights.bytes() + self.bias.as_ref().map_or(0, Buffer::size)
    }
}

/// Bytes of a weight that are in the host's memory at a time.
const PIECE: usize = 1 << 20;

/// Uncompressed rows that are in the host's memory at a time: one row block.
const ROWS: usize = LANES;

/// A streamed stage that is loaded.
pub(crate) struct Streaming {
    pub slot: SlotWords,
    /// Bytes of the slot that are taken.
    pub taken: u64,
    stage: StreamedStage,
}

impl Streaming {
    /// Adds pieces of the payload that `reader` reads.
    pub fn add(&mut self, reader: &TensorReader, pieces: &[Piece]) {
        self.stage.add(reader.file(), reader.start(), pieces);
        let end = pieces.iter().map(|piece| piece.at + piece.payload.len() as u64).max();
        self.taken = end.unwrap_or(self.taken).next_multiple_of(256);
    }

    /// Adds row blocks that are decoded in `precision` on their way.
    pub fn add_decoded(&mut self, reader: &TensorReader, precision: Precision, pieces: &[RowBlocks]) {
        self.stage.add_decoded(reader, precision, pieces);
        let end = pieces.iter().map(RowBlocks::end).max();
        self.taken = end.unwrap_or(self.taken).next_multiple_of(256);
    }
}

/// Reads tensors by name and uploads them. Files are read by position, in pieces, on a thread of its own: no more of
/// them than that is in the host's memory, and whoever polls waits for none of it.
pub(crate) struct Loader<'a> {
    pub(crate) gpu: &'a Gpu,
    files: &'a ModelFiles,
    raw: bool,
    pub(crate) planned: &'a Planned,
    reading: &'a Reading,
    pub(crate) uploader: Uploader,
    pub(crate) progress: &'a dyn Progress,
    piece: Vec<u8>,
    /// The streamed stages, in the order in which they are visited.
    pub(crate) streaming: Vec<Streaming>,
}

impl<'a> Loader<'a> {
    /// Uncompresses weights first where `raw` is set.
    pub fn new(
        gpu: &'a Gpu,
        files: &'a ModelFiles,
        raw: bool,
        planned: &'a Planned,
        reading: &'a Reading,
        uploader: Uploader,
        progress: &'a dyn Progress,
    ) -> Self {
        let (piece, streaming) = (vec![0; PIECE], Vec::new());
        Self { gpu, files, raw, planned, reading, uploader, progress, piece, streaming }
    }

    /// All of the model.
    pub async fn model(&mut self, config: ModelConfig) -> Result<Model, ModelError> {
        let mut ring = self.ring()?;
        let (embedding, output) = match &self.planned.plan {
            Some(plan) if plan.embedding_on_host => self.output_in_parts(&config).await?,
            _ => self.output_in_one(&config).await?,
        };
        let norm = self.vector(LAST_NORM, config.hidden).await?;
        // Layers last: transcoding the largest matrices takes the room that is left to them.
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            layers.push(LayerWeights::load(self, &config, layer).await?);
        }
        if let Some(ring) = &mut ring {
            ring.set_stages(self.streaming.drain(..).map(|streaming| streaming.stage).collect());
        }
        let wide_room = self.wide_room(&layers)?;
        let (plan, precisions) = (self.planned.plan.clone(), self.planned.precisions.clone());
        let (gpu, sweep) = (self.gpu.clone(), Sweep::new(self.gpu));
        let is_shared = ring.is_some() || matches!(embedding, Embedding::OnHost(_));
        let passes = if is_shared { Some(Passes::new()?) } else { None };
        Ok(Model {
            gpu,
            config,
            embedding,
            layers,
            norm,
            output,
            plan,
            precisions,
            wide_room,
            rotations: Mutex::default(),
            passes,
            ring: ring.map(Arc::new),
            _sweep: sweep,
        })
    }

    /// Room to widen the layers' matrices for batches, where any are to be and the plan has it.
    fn wide_room(&self, layers: &[LayerWeights]) -> Result<Option<WideRoom>, ModelError> {
        let most = self.planned.plan.as_ref().map_or(u64::MAX, |plan| plan.wide_room);
        let wanted = WideRoom::wanted(self.gpu, BATCH, layers.iter().flat_map(LayerWeights::matrices));
        let bytes = wanted.min(most);
        Ok(if bytes > 0 { Some(WideRoom::new(self.gpu, bytes)?) } else { None })
    }

    /// The ring of the stages that are streamed, each with its place in it.
    fn ring(&mut self) -> Result<Option<Ring>, ModelError> {
        let Some(plan) = self.planned.plan.as_ref().filter(|plan| !plan.is_resident()) else {
            return Ok(None);
        };
        let ring = Ring::new(self.gpu, plan.slot_kind, plan.slots, plan.slot_bytes)?;
        let place =
            |k| Streaming { slot: ring.slot_of(k).clone(), taken: 0, stage: StreamedStage::default() };
        self.streaming = (0..plan.streamed.len()).map(place).collect();
        Ok(Some(ring))
    }

    /// Embedding and output matrix on the device.
    async fn output_in_one(
        &mut self,
        config: &ModelConfig,
    ) -> Result<(Embedding, Vec<DeviceMatrix>), ModelError> {
        let embedding = self.matrix(EMBEDDING, config.vocab, config.hidden).await?;
        if config.tied {
            return Ok((Embedding::InOutput, vec![embedding]));
        }
        let output = self.matrix(OUTPUT, config.vocab, config.hidden).await?;
        Ok((Embedding::Apart(Box::new(embedding)), vec![output]))
    }

    /// The embedding in its file, and the output matrix in the parts that are stages.
    async fn output_in_parts(
        &mut self,
        config: &ModelConfig,
    ) -> Result<(Embedding, Vec<DeviceMatrix>), ModelError> {
        let rows = self.token_rows(config).await?;
        let name = if config.tied { EMBEDDING } else { OUTPUT };
        let weight = self.require(name, &[config.vocab, config.hidden])?;
        let reader = self.open(&weight).await?;
        if !config.tied {
            self.check(&reader, self.planned.precisions.of(name)).await?;
        }
        let mut output = Vec::new();
        match self.tiles(&reader) {
            Some(tiles) => {
                for (stage, row_blocks) in &self.planned.cut.output {
                    let tiles = tiles.of_row_blocks(row_blocks.clone());
                    output.push(self.tiled(&weight, &reader, &tiles, self.place_of(*stage)).await?);
                }
            }
            None => output.push(self.raw(&weight, &reader).await?),
        }
        self.progress.advance(weight.original_len as u64);
        Ok((Embedding::OnHost(Arc::new(rows)), output))
    }

    /// What reads rows of the embedding, which is checked.
    async fn token_rows(&self, config: &ModelConfig) -> Result<TokenRows, ModelError> {
        let weight = self.require(EMBEDDING, &[config.vocab, config.hidden])?;
        let matrix = Matrix { rows: config.vocab, cols: config.hidden };
        if MatrixBytes::raw(self.gpu, weight.name, weight.dtype, matrix)?.is_none() {
            return Err(wrong_type(&weight));
        }
        let reader = self.open(&weight).await?;
        self.check(&reader, Precision::Lossless).await?;
        if !config.tied {
            self.progress.advance(weight.original_len as u64);
        }
        let precision = if self.raw { Precision::Lossless } else { self.planned.precisions.of(EMBEDDING) };
        Ok(TokenRows::new(self.gpu, reader, precision, Strides::new(config).hidden)?)
    }

    /// A product's matrix, and its bias where it has one.
    pub async fn linear(&mut self, name: &str, shape: &ProductShape) -> Result<Linear, ModelError> {
        let weights = self.matrix(&format!("{name}.weight"), shape.rows, shape.cols).await?;
        let bias = match shape.bias {
            true => Some(self.vector(&format!("{name}.bias"), shape.rows).await?),
            false => None,
        };
        Ok(Linear { weights, bias })
    }

    /// A matrix in the form that it is stored in, or raw where that is asked for.
    async fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<DeviceMatrix, ModelError> {
        let weight = self.require(name, &[rows, cols])?;
        let reader = self.open_checked(&weight).await?;
        let matrix = match self.tiles(&reader) {
            Some(tiles) => self.tiled(&weight, &reader, &tiles, self.streamed_stage(name)).await?,
            None => self.raw(&weight, &reader).await?,
        };
        self.progress.advance(weight.original_len as u64);
        Ok(matrix)
    }

    /// The streamed stage that a layer's matrix belongs to, by place among the streamed ones; `None` where it
    /// stays.
    pub(crate) fn streamed_stage(&self, name: &str) -> Option<usize> {
        self.place_of(*self.planned.cut.stage_of.get(name)?)
    }

    /// The place of a stage among the streamed ones.
    fn place_of(&self, stage: usize) -> Option<usize> {
        self.planned.plan.as_ref()?.streamed.binary_search(&stage).ok()
    }

    /// The tiles that products are to read; `None` where they read the matrix uncompressed.
    pub(crate) fn tiles<'r>(&self, reader: &'r TensorReader) -> Option<Tiles<'r>> {
        let head = reader.head().filter(|_| !self.raw)?;
        Tiles::for_products(head, self.planned.precisions.of(reader.name()))
    }

    /// Tiles that have been checked: in the slot of the streamed stage `streamed`, or on the device.
    pub(crate) async fn tiled(
        &mut self,
        weight: &Weight<'_>,
        reader: &TensorReader,
        tiles: &Tiles<'_>,
        streamed: Option<usize>,
    ) -> Result<DeviceMatrix, ModelError> {
        let (gpu, label) = (self.gpu, weight.name);
        if let Some((k, streaming)) = streamed.and_then(|k| Some((k, self.streaming.get_mut(k)?))) {
            let place = SlotPlace { slot: &streaming.slot, at: streaming.taken, stage: k };
            if self.planned.decodes() {
                let decoded = DeviceMatrix::decoded_in_slot(gpu, label, tiles, place)?;
                let (matrix, pieces) = decoded.ok_or_else(|| wrong_type(weight))?;
                streaming.add_decoded(reader, self.planned.precisions.of(label), &pieces);
                return Ok(matrix);
            }
            let (matrix, pieces) = DeviceMatrix::in_slot(gpu, label, tiles, place)?;
            streaming.add(reader, &pieces);
            return Ok(matrix);
        }
        let fast_block = tiles.fast_row_block_bytes().filter(|_| self.planned.fast);
        let matrix = self.dense(weight, reader, tiles, fast_block.unwrap_or(0)).await?;
        match fast_block {
            Some(_) => Ok(matrix.into_fast(gpu, &mut self.uploader, label).await?),
            None => Ok(matrix),
        }
    }

    /// Tiles on the device, in parts in which a row block could also have `least_block` bytes.
    pub(crate) async fn dense(
        &mut self,
        weight: &Weight<'_>,
        reader: &TensorReader,
        tiles: &Tiles<'_>,
        least_block: u64,
    ) -> Result<DeviceMatrix, ModelError> {
        let (matrix, pieces) = DeviceMatrix::dense(self.gpu, weight.name, tiles, least_block)?;
        for (part, pieces) in matrix.parts.iter().zip(pieces) {
            self.write_pieces(reader, &part.payload, &pieces).await?;
        }
        // What was checked is what was uploaded.
        reader.require_unchanged()?;
        Ok(matrix)
    }

    /// Uploads pieces of a payload.
    pub(crate) async fn write_pieces(
        &mut self,
        reader: &TensorReader,
        to: &Words,
        pieces: &[Piece],
    ) -> Result<(), ModelError> {
        for Piece { payload, at } in pieces {
            for start in payload.clone().step_by(PIECE) {
                let len = (payload.end - start).min(PIECE);
                let (mut piece, theirs) = (std::mem::take(&mut self.piece), reader.clone());
                piece.resize(PIECE, 0);
                let read = move || (theirs.read(start, &mut piece[..len]), piece);
                let (read, piece) = self.reading.run(read).await?;
                self.piece = piece;
                read?;
                let at = at + (start - payload.start) as u64;
                self.uploader.write(to, at, &self.piece[..len]).await?;
            }
        }
        Ok(())
    }

    /// A matrix, uncompressed.
    pub(crate) async fn raw(
        &mut self,
        weight: &Weight<'_>,
        reader: &TensorReader,
    ) -> Result<DeviceMatrix, ModelError> {
        let wrong_type = || wrong_type(weight);
        let &[rows, cols] = weight.shape else { return Err(wrong_type()) };
        let raw = DeviceMatrix::raw(self.gpu, weight.name, weight.dtype, Matrix { rows, cols })?;
        let matrix = raw.ok_or_else(wrong_type)?;
        self.write_rows(&matrix, 0, rows, reader).await?;
        Ok(matrix)
    }

    /// Uploads all `rows` rows of a matrix, uncompressed, from row block `row_block` on; gives how many row
    /// blocks they are.
    pub(crate) async fn write_rows(
        &mut self,
        matrix: &DeviceMatrix,
        row_block: usize,
        rows: usize,
        reader: &TensorReader,
    ) -> Result<usize, ModelError> {
        for (i, first) in (0..rows).step_by(ROWS).enumerate() {
            let theirs = reader.clone();
            let read = move || theirs.read_rows(first..(first + ROWS).min(rows));
            let bytes = self.reading.run(read).await??;
            matrix.write_raw(&mut self.uploader, row_block + i, &bytes).await?;
        }
        reader.require_unchanged()?;
        Ok(rows.div_ceil(ROWS))
    }

    /// A vector (a norm's weight, a bias), widened to F32.
    pub async fn vector(&mut self, name: &str, len: usize) -> Result<Buffer, ModelError> {
        self.vectors(&[(name.into(), len)]).await
    }

    /// Vectors of such names and lengths end to end, widened to F32.
    pub async fn vectors(&mut self, vectors: &[(String, usize)]) -> Result<Buffer, ModelError> {
        let mut values: Vec<f32> = Vec::new();
        for (name, len) in vectors {
            let weight = self.require(name, &[*len])?;
            if !matches!(weight.dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32) {
                return Err(wrong_type(&weight));
            }
            let reader = self.open(&weight).await?;
            let read = move || {
                let bytes = reader.read_all()?;
                Ok::<Vec<f32>, ArchiveError>(reader.values(&bytes, Precision::Lossless).collect())
            };
            values.extend(self.reading.run(read).await??);
            self.progress.advance(weight.original_len as u64);
        }
        let label = vectors.first().map_or("", |(name, _)| name);
        Ok(self.gpu.buffer_with(label, bytemuck::cast_slice(&values), wgpu::BufferUsages::STORAGE)?)
    }

    /// What reads a tensor. By then the device is done with what was dropped, so that there is room for it.
    async fn open(&self, weight: &Weight<'_>) -> Result<TensorReader, ModelError> {
        self.gpu.settle().await?;
        Ok(weight.opened(self.reading.run(weight.opening()).await??)?)
    }

    /// Compares what is read in `precision` with its checksums.
    async fn check(&self, reader: &TensorReader, precision: Precision) -> Result<(), ModelError> {
        let reader = reader.clone();
        Ok(self.reading.run(move || reader.check(precision)).await??)
    }

    /// What reads a tensor, of which as much is checked as is to be read.
    pub(crate) async fn open_checked(&self, weight: &Weight<'_>) -> Result<TensorReader, ModelError> {
        let reader = self.open(weight).await?;
        self.check(&reader, self.planned.precisions.of(weight.name)).await?;
        Ok(reader)
    }

    pub(crate) fn require(&self, name: &str, shape: &[usize]) -> Result<Weight<'a>, ModelError> {
        if self.progress.cancelled() {
            return Err(ArchiveError::Cancelled.into());
        }
        require(self.files, name, shape)
    }
}

/// The tensor called `name`, which must have that shape.
pub(crate) fn require<'a>(
    files: &'a ModelFiles,
    name: &str,
    shape: &[usize],
) -> Result<Weight<'a>, ModelError> {
    let weight = files.require(name)?;
    if weight.shape != shape {
        return Err(ModelError::WrongTensor {
            tensor: name.into(),
            expected: format!("shape {shape:?}"),
            found: format!("shape {:?}", weight.shape),
        });
    }
    Ok(weight)
}

fn wrong_type(weight: &Weight<'_>) -> ModelError {
    ModelError::WrongTensor {
        tensor: weight.name.into(),
        expected: "BF16, F16 or F32".into(),
        found: weight.dtype.to_string(),
    }
}
