//! Reading tensors and bringing them to the device, compressed there.

use super::encoding::{Encoding, store};
use super::matrix::{Piece, TrainedMatrix};
use super::model::{Tensors, Trained, TrainedModel};
use super::moments::{OptimizerState, PieceMoments};
use super::vector::{TrainedVector, bits_of, require};
use crate::archive::{ModelFiles, Weight};
use crate::codec::grid::LANES;
use crate::gpu::{Gpu, Transcoded, Uploader};
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
    /// What the optimizer keeps.
    pub state: OptimizerState,
    /// How many pieces all matrices have.
    pub pieces: usize,
}

/// Rows of a piece of a matrix with so many columns: whole row blocks, at least one.
fn piece_rows(piece_weights: usize, cols: usize) -> usize {
    // A dispatch has a workgroup for each row of the embedding.
    (piece_weights / (cols.max(1) * LANES)).clamp(1, 1000) * LANES
}

/// The sizes of all matrices.
pub(crate) fn matrices(config: &ModelConfig) -> Vec<Matrix> {
    let matrix = |(_, shape): (String, Vec<usize>)| match shape[..] {
        [rows, cols] => Some(Matrix { rows, cols }),
        _ => None,
    };
    tensor_shapes(config).into_iter().filter_map(matrix).collect()
}

/// The sizes of the pieces of all matrices, whose weights are worked on so many at once.
pub(crate) fn pieces(config: &ModelConfig, piece_weights: usize) -> Vec<Matrix> {
    let pieces = |Matrix { rows, cols }| {
        let each = piece_rows(piece_weights, cols);
        (0..rows).step_by(each).map(move |first| Matrix { rows: each.min(rows - first), cols })
    };
    matrices(config).into_iter().flat_map(pieces).collect()
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
                    Trained::Vector(TrainedVector::load(self.gpu, weight.name, number, &bits, self.state)?)
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
            let size = Matrix { rows: rows.len(), cols };
            let encoding = encoding.zip(self.layout);
            let stored = store(self.gpu, uploader, weight.name, size, &bits, number, encoding).await?;
            let encoding = encoding.map(|(encoding, _)| encoding);
            let moments = PieceMoments::zeros(self.gpu, self.state, size, encoding, (number, self.pieces))?;
            pieces.push(Piece { rows, number, stored, moments });
        }
        let means = OptimizerState::numbers(self.gpu, self.state.of_matrix(&Matrix { rows, cols }))?;
        Ok(TrainedMatrix { name: weight.name.into(), tensor, rows, cols, pieces, means })
    }
}
