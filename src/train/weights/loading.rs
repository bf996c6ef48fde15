//! Reading tensors and bringing them to the device, compressed there.

use std::sync::Arc;

use super::matrix::{Piece, TrainedMatrix, laid_out, wide_bytes};
use super::model::{Tensors, Trained, TrainedModel};
use super::stored::Stored;
use super::vector::{TrainedVector, bits_of, require};
use crate::archive::{ModelFiles, Weight};
use crate::codec::grid::LANES;
use crate::gpu::kernels::training::encode::{EncodeScratch, Encoded};
use crate::gpu::{Batch, Bound, Buffer, Gpu, GpuError, Transcoded, Uploader};
use crate::model::{ModelConfig, tensor_shapes};
use crate::tensor::Matrix;
use crate::train::TrainError;

/// How tensors are loaded.
pub(crate) struct Loading<'a> {
    pub gpu: &'a Gpu,
    pub files: &'a ModelFiles,
    pub config: &'a ModelConfig,
    /// The layout of matrices; uncompressed if there is none.
    pub layout: Option<Transcoded>,
    /// Weights of a matrix that are worked on at once.
    pub piece_weights: usize,
    /// Bytes of the optimizer's state for each weight.
    pub state_bytes: u64,
}

/// Memory in which pieces are encoded.
pub(crate) struct Encoding<'a> {
    /// Room for an uncompressed piece.
    pub wide: &'a Arc<Buffer>,
    pub scratch: &'a EncodeScratch,
    /// What each piece needs.
    pub needs: &'a Buffer,
}

/// Rows of a piece of a matrix with so many columns: whole row blocks, at least one.
fn piece_rows(piece_weights: usize, cols: usize) -> usize {
    // A dispatch has a workgroup for each row of the embedding.
    (piece_weights / (cols.max(1) * LANES)).clamp(1, 1000) * LANES
}

/// The sizes of the pieces of all matrices, whose weights are worked on so many at once.
pub(crate) fn pieces(config: &ModelConfig, piece_weights: usize) -> Vec<Matrix> {
    let matrices = tensor_shapes(config).into_iter().filter_map(|(_, shape)| match shape[..] {
        [rows, cols] => Some((rows, cols)),
        _ => None,
    });
    let pieces = |(rows, cols)| {
        let each = piece_rows(piece_weights, cols);
        (0..rows).step_by(each).map(move |first| Matrix { rows: each.min(rows - first), cols })
    };
    matrices.flat_map(pieces).collect()
}

/// What was loaded so far.
#[derive(Default)]
struct Loaded {
    /// Pieces of matrices.
    pieces: usize,
    hasher: blake3::Hasher,
}

impl Loaded {
    fn hash(&mut self, bits: &[u16]) {
        self.hasher.update(&bits.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>());
    }
}

impl Loading<'_> {
    /// Reads all weights and brings them to the device.
    pub async fn load(&self, encoding: Option<&Encoding<'_>>) -> Result<TrainedModel, TrainError> {
        let mut uploader = Uploader::within(self.gpu, Uploader::LEAST)?;
        let (mut tensors, mut progress) = (Vec::new(), Loaded::default());
        for (number, (name, shape)) in tensor_shapes(self.config).into_iter().enumerate() {
            let weight = self.files.require(&name)?;
            require(&weight, &shape)?;
            let number = number as u32;
            tensors.push(match shape[..] {
                [rows, cols] => {
                    let matrix = Matrix { rows, cols };
                    let matrix =
                        self.matrix(&mut uploader, &weight, number, matrix, &mut progress, encoding).await?;
                    Trained::Matrix(matrix)
                }
                _ => {
                    let bits = bits_of(weight.dtype, &weight.reader()?.read_all()?);
                    progress.hash(&bits);
                    Trained::Vector(TrainedVector::load(
                        self.gpu,
                        weight.name,
                        number,
                        &bits,
                        self.state_bytes,
                    )?)
                }
            });
        }
        Tensors(tensors.into_iter()).model(self.config, progress.hasher.finalize())
    }

    async fn matrix(
        &self,
        uploader: &mut Uploader,
        weight: &Weight<'_>,
        tensor: u32,
        Matrix { rows, cols }: Matrix,
        progress: &mut Loaded,
        encoding: Option<&Encoding<'_>>,
    ) -> Result<TrainedMatrix, TrainError> {
        let reader = weight.reader()?;
        let each = piece_rows(self.piece_weights, cols);
        let mut pieces = Vec::new();
        for first in (0..rows).step_by(each) {
            let rows = first..(first + each).min(rows);
            let bits = bits_of(reader.dtype(), &reader.read_matrix_rows(rows.clone())?);
            progress.hash(&bits);
            let number = progress.pieces;
            progress.pieces += 1;
            let stored = self.store(uploader, weight.name, cols, &bits, number, encoding).await?;
            let moments = self.state_bytes * bits.len() as u64;
            let moments = (moments > 0).then(|| self.gpu.buffer("moments", moments, usage())).transpose()?;
            pieces.push(Piece { rows, number, stored, moments });
        }
        Ok(TrainedMatrix { name: weight.name.into(), tensor, rows, cols, pieces })
    }

    /// Brings the weights of a piece to the device.
    async fn store(
        &self,
        uploader: &mut Uploader,
        label: &str,
        cols: usize,
        bits: &[u16],
        number: usize,
        encoding: Option<&Encoding<'_>>,
    ) -> Result<Stored, TrainError> {
        let matrix = Matrix { rows: bits.len() / cols, cols };
        let words = laid_out(bits, cols);
        let needs = self.layout.and_then(|layout| Some((layout, Encoded::needs(layout, cols, bits)?)));
        let (Some((layout, (format, needs))), Some(encoding)) = (needs, encoding) else {
            let buffer = self.gpu.buffer(label, wide_bytes(matrix.rows, cols), usage())?;
            uploader.write(&buffer, 0, &words).await?;
            return Ok(if self.layout.is_some() { Stored::Copied(buffer) } else { Stored::Raw(buffer) });
        };
        let encoded = Encoded::new(self.gpu, label, matrix, format, needs.with_slack(layout, bits.len()))?;
        uploader.write(&**encoding.wide, 0, &words).await?;
        let with = (encoding.needs, number as u32);
        let dispatches = encoded.encode(self.gpu, Bound::from(&**encoding.wide), encoding.scratch, with)?;
        self.gpu.submit("encode", |encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            dispatches
                .iter()
                .for_each(|dispatch| dispatch.record(&mut pass, Batch { tokens: 1, outputs: 1 }));
        })?;
        Ok(Stored::Encoded(Box::new(encoded)))
    }
}

pub(super) fn usage() -> wgpu::BufferUsages {
    wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST
}

/// Room for a piece whose weights need more than they have: more of the same layout, or, where that would do no good,
/// as much as they take uncompressed.
pub(crate) fn grown(
    gpu: &Gpu,
    label: &str,
    matrix: Matrix,
    encoded: &Encoded,
    needs: &crate::gpu::kernels::training::encode::Needs,
) -> Result<Stored, GpuError> {
    if encoded.could_hold(needs) {
        let room = needs.with_slack(encoded.layout(), matrix.rows * matrix.cols);
        let more = Encoded::new(gpu, label, matrix, encoded.format(), room)?;
        return Ok(Stored::Encoded(Box::new(more)));
    }
    gpu.buffer(label, wide_bytes(matrix.rows, matrix.cols), usage()).map(Stored::Copied)
}
