//! What the optimizer keeps of tensors on the device.

use super::encoding::Encoding;
use super::stored::Stored;
use super::wide::wide_bytes;
use crate::gpu::kernels::training::encode::Encoded;
use crate::gpu::weights::WEIGHTS;
use crate::gpu::{Buffer, Gpu, GpuError, Transcoded};
use crate::tensor::Matrix;
use crate::train::optimizer::{MomentsDtype, Optimizer, UpdateOptions};
use crate::train::options::TrainOptions;

/// What an optimizer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptimizerState {
    /// Nothing.
    None,
    /// Two moments for each weight, or the first and the root of the second; of matrices they have this type, and elsewhere they are F32.
    Moments(MomentsDtype),
    /// A mean of squares for each row and each column of a matrix, and for each element of a vector.
    Means,
}

impl OptimizerState {
    pub fn of(update: &UpdateOptions) -> Self {
        match update.optimizer {
            Optimizer::Sgd => Self::None,
            Optimizer::AdamW { .. } => Self::Moments(update.moments),
            Optimizer::AdaLomo { .. } => Self::Means,
        }
    }

    /// Of the model's own weights, of which nothing is kept where adapters are trained.
    pub fn of_weights(options: &TrainOptions) -> Self {
        if options.lora.is_some() { Self::None } else { Self::of(&options.update) }
    }

    /// F32 numbers for a vector, or a factor of an adapter, of so many elements.
    pub fn of_vector(self, len: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Moments(_) => 2 * len,
            Self::Means => len,
        }
    }

    /// Bytes for a piece of a matrix, without what there is for the whole matrix.
    pub fn piece_bytes(self, piece: &Matrix, layout: Option<Transcoded>) -> u64 {
        let weights = (piece.rows * piece.cols) as u64;
        match self {
            Self::None | Self::Means => 0,
            Self::Moments(MomentsDtype::F32) => 8 * weights,
            Self::Moments(MomentsDtype::Bf16) => {
                2 * match layout {
                    None => wide_bytes(piece.rows, piece.cols),
                    Some(_) => Encoded::zeros_bytes(*piece).iter().sum(),
                }
            }
        }
    }

    /// F32 numbers for a whole matrix.
    pub fn of_matrix(self, matrix: &Matrix) -> usize {
        if self == Self::Means { matrix.rows + matrix.cols } else { 0 }
    }

    /// How many tensors of a piece are changed together: its weights, and what is stored as weights are.
    pub fn changed_together(self) -> u64 {
        if self == Self::Moments(MomentsDtype::Bf16) { 3 } else { 1 }
    }

    /// Room for so many F32 numbers, which are zeros; `None` for none.
    pub fn numbers(gpu: &Gpu, count: usize) -> Result<Option<Buffer>, GpuError> {
        (count > 0).then(|| gpu.buffer("optimizer", 4 * count as u64, WEIGHTS)).transpose()
    }
}

/// The moments of a piece of a matrix.
#[derive(Debug)]
pub(crate) enum PieceMoments {
    /// There are none.
    No,
    /// First and second moments, row by row.
    F32(Buffer),
    /// First moments, and roots of second moments, stored as weights are.
    Bf16([Kept; 2]),
}

/// BF16 numbers that are stored as weights are.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Their number among all that is stored so.
    pub number: usize,
    pub stored: Stored,
}

impl PieceMoments {
    /// Moments that are zero, for piece `number` of `count`.
    pub fn zeros(
        gpu: &Gpu,
        state: OptimizerState,
        piece: Matrix,
        encoding: Option<&Encoding<'_>>,
        (number, count): (usize, usize),
    ) -> Result<Self, GpuError> {
        let OptimizerState::Moments(dtype) = state else { return Ok(Self::No) };
        match dtype {
            MomentsDtype::F32 => {
                let numbers = OptimizerState::numbers(gpu, 2 * piece.rows * piece.cols)?;
                Ok(numbers.map_or(Self::No, Self::F32))
            }
            MomentsDtype::Bf16 => {
                let kept = |which: usize| {
                    let number = which * count + number;
                    Ok::<_, GpuError>(Kept { number, stored: zeros(gpu, piece, encoding, number)? })
                };
                Ok(Self::Bf16([kept(1)?, kept(2)?]))
            }
        }
    }

    /// What is stored as weights are.
    pub fn kept(&self) -> &[Kept] {
        match self {
            Self::Bf16(kept) => kept,
            Self::No | Self::F32(_) => &[],
        }
    }

    /// The same, to change how it is stored.
    pub fn kept_mut(&mut self) -> &mut [Kept] {
        match self {
            Self::Bf16(kept) => kept,
            Self::No | Self::F32(_) => &mut [],
        }
    }
}

/// Zeros, compressed if there is something to encode them with.
fn zeros(
    gpu: &Gpu,
    piece: Matrix,
    encoding: Option<&Encoding<'_>>,
    number: usize,
) -> Result<Stored, GpuError> {
    let bytes = wide_bytes(piece.rows, piece.cols);
    let Some(encoding) = encoding else { return Ok(Stored::Raw(gpu.buffer("moments", bytes, WEIGHTS)?)) };
    let encoded = Encoded::zeros(gpu, "moments", piece)?;
    encoding.encode(gpu, &encoded, number, Some(bytes))?;
    Ok(Stored::Encoded(Box::new(encoded)))
}
