//! Turns tensors in files into weights on a device.

use crate::archive::{ArchiveError, ModelFiles, Progress, TensorReader, Weight};
use crate::codec::Precision;
use crate::codec::grid::LANES;
use crate::gpu::weights::{DeviceMatrix, Piece, Tiles, Words};
use crate::gpu::{Buffer, Gpu, SlotPlace, Uploader};
use crate::model::adapter::Adapter;
use crate::model::error::ModelError;
use crate::model::files::reading::{Reading, Wanted};
use crate::model::files::require::{require, wrong_type};
use crate::model::loading::streaming::Streaming;
use crate::model::plan::options::LoadOptions;
use crate::model::plan::planned::Planned;
use crate::model::shape::tensors::ProductShape;
use crate::model::weights::layer_weights::Linear;
use crate::tensor::{Dtype, Matrix};

/// Maximum bytes of a weight in the host's memory at a time.
const PIECE: usize = 1 << 20;

/// Maximum uncompressed rows in the host's memory at a time: one row block.
const ROWS: usize = LANES;

/// Reads tensors by name and uploads them. A separate thread reads files by position, in pieces: the host's
/// memory holds no more than one piece, and the polling task never waits for a file.
pub(crate) struct Loader<'a> {
    pub(crate) gpu: &'a Gpu,
    pub(crate) files: &'a ModelFiles,
    pub(crate) raw: bool,
    pub(crate) adapter: Option<&'a Adapter>,
    pub(crate) planned: &'a Planned,
    pub(crate) reading: &'a Reading<'a>,
    pub(crate) uploader: Uploader,
    pub(crate) progress: &'a dyn Progress,
    piece: Vec<u8>,
    /// The streamed stages, in the order in which a pass reads them.
    pub(crate) streaming: Vec<Streaming>,
}

impl<'a> Loader<'a> {
    /// A loader with these options: if they say `raw`, it decompresses weights first.
    pub fn new(
        gpu: &'a Gpu,
        files: &'a ModelFiles,
        options: &'a LoadOptions,
        planned: &'a Planned,
        reading: &'a Reading<'a>,
        uploader: Uploader,
        progress: &'a dyn Progress,
    ) -> Self {
        let (piece, streaming) = (vec![0; PIECE], Vec::new());
        let (raw, adapter) = (options.raw, options.adapter.as_deref());
        Self { gpu, files, raw, adapter, planned, reading, uploader, progress, piece, streaming }
    }

    /// A product's matrix, and its bias if it has one.
    pub async fn linear(&mut self, name: &str, shape: &ProductShape) -> Result<Linear, ModelError> {
        let weights = self.matrix(&format!("{name}.weight"), shape.rows, shape.cols).await?;
        let bias = match shape.bias {
            true => Some(self.vector(&format!("{name}.bias"), shape.rows).await?),
            false => None,
        };
        Ok(Linear { weights, bias })
    }

    /// A matrix in its stored form, or uncompressed if requested.
    pub(crate) async fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<DeviceMatrix, ModelError> {
        let weight = self.require(name, &[rows, cols])?;
        let reader = self.open_checked(&weight).await?;
        let matrix = match self.tiles(&reader) {
            Some(tiles) => self.tiled(&weight, &reader, &tiles, self.streamed_stage(name)).await?,
            None => self.raw(&weight, &reader).await?,
        };
        self.progress.advance(weight.original_len as u64);
        Ok(matrix)
    }

    /// The streamed stage of a layer's matrix, as an index among the streamed stages; `None` if the matrix is
    /// resident.
    pub(crate) fn streamed_stage(&self, name: &str) -> Option<usize> {
        self.place_of(*self.planned.cut.stage_of.get(name)?)
    }

    /// The index of a stage among the streamed stages.
    pub(crate) fn place_of(&self, stage: usize) -> Option<usize> {
        self.planned.plan.as_ref()?.streamed.binary_search(&stage).ok()
    }

    /// The tiles that products read; `None` if they read the matrix uncompressed.
    pub(crate) fn tiles<'r>(&self, reader: &'r TensorReader) -> Option<Tiles<'r>> {
        let head = reader.head().filter(|_| !self.raw)?;
        Tiles::for_products(head, self.planned.precisions.of(reader.name()))
    }

    /// Loads checked tiles: into the slot of the streamed stage `streamed`, or onto the device.
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
        let to = self.planned.transcoded.and_then(|to| Some((to, tiles.transcoded_row_block_bytes(to)?)));
        let matrix = self.dense(weight, reader, tiles, to.map_or(0, |(_, block)| block)).await?;
        match to {
            Some((to, _)) => Ok(matrix.into_transcoded(gpu, &mut self.uploader, label, to).await?),
            None => Ok(matrix),
        }
    }

    /// Tiles on the device, in parts in which a row block may also have `least_block` bytes.
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
        // Ensures that the uploaded bytes are the checked ones.
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
                let read = move |_: &Wanted| (theirs.read(start, &mut piece[..len]), piece);
                let (read, piece) = self.reading.run(read).await?;
                self.piece = piece;
                read?;
                let at = at + (start - payload.start) as u64;
                self.uploader.write(to, at, &self.piece[..len]).await?;
            }
        }
        Ok(())
    }

    /// Loads a matrix uncompressed.
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

    /// Uploads all `rows` rows of a matrix uncompressed, starting at row block `row_block`. Returns the
    /// number of row blocks.
    pub(crate) async fn write_rows(
        &mut self,
        matrix: &DeviceMatrix,
        row_block: usize,
        rows: usize,
        reader: &TensorReader,
    ) -> Result<usize, ModelError> {
        for (i, first) in (0..rows).step_by(ROWS).enumerate() {
            let theirs = reader.clone();
            let read = move |_: &Wanted| theirs.read_matrix_rows(first..(first + ROWS).min(rows));
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

    /// Vectors with these names and lengths, end to end, widened to F32.
    pub async fn vectors(&mut self, vectors: &[(String, usize)]) -> Result<Buffer, ModelError> {
        let mut values: Vec<f32> = Vec::new();
        for (name, len) in vectors {
            let weight = self.require(name, &[*len])?;
            if !matches!(weight.dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32) {
                return Err(wrong_type(&weight));
            }
            let reader = self.open(&weight).await?;
            let read = move |_: &Wanted| {
                let bytes = reader.read_all()?;
                Ok::<Vec<f32>, ArchiveError>(reader.values(&bytes, Precision::Lossless).collect())
            };
            values.extend(self.reading.run(read).await??);
            self.progress.advance(weight.original_len as u64);
        }
        let label = vectors.first().map_or("", |(name, _)| name);
        Ok(self.gpu.buffer_with(label, bytemuck::cast_slice(&values), wgpu::BufferUsages::STORAGE)?)
    }

    /// Opens a tensor for reading. First waits until the device has freed dropped buffers, so that the tensor
    /// fits.
    pub(crate) async fn open(&self, weight: &Weight<'_>) -> Result<TensorReader, ModelError> {
        self.gpu.settle().await?;
        let open = weight.opening();
        Ok(weight.opened(self.reading.run(move |_| open()).await??)?)
    }

    /// Verifies the checksums of the bytes that are read at `precision`.
    pub(crate) async fn check(&self, reader: &TensorReader, precision: Precision) -> Result<(), ModelError> {
        let reader = reader.clone();
        Ok(self.reading.run(move |wanted| reader.check_while(precision, &|| wanted.check())).await??)
    }

    /// Opens a tensor, and verifies as much of it as will be read.
    pub(crate) async fn open_checked(&self, weight: &Weight<'_>) -> Result<TensorReader, ModelError> {
        let reader = self.open(weight).await?;
        self.check(&reader, self.planned.precisions.of(weight.name)).await?;
        Ok(reader)
    }

    pub(crate) fn require(&self, name: &str, shape: &[usize]) -> Result<Weight<'a>, ModelError> {
        self.reading.check()?;
        require(self.files, name, shape)
    }
}
