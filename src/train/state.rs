//! What the optimizer keeps, as numbers: to save it, and to go on from it.

use half::bf16;

use super::error::TrainError;
use super::optimizer::MomentsDtype;
use super::trainer::Trainer;
use super::weights::{Encoding, Kept, OptimizerState, PieceMoments, TrainedMatrix, store};
use crate::gpu::{Buffer, Gpu, Transcoded, Uploader, download};
use crate::tensor::{Dtype, Matrix};

impl Trainer {
    /// What the optimizer keeps.
    fn optimizer_state(&self) -> OptimizerState {
        OptimizerState::of(&self.options.update)
    }

    /// The type and the shape of what the optimizer keeps of a trained tensor of this shape; `None` if it keeps nothing.
    pub(super) fn state_shape(&self, shape: &[usize]) -> Option<(Dtype, Vec<usize>)> {
        let is_matrix = shape.len() == 2 && self.options.lora.is_none();
        match self.optimizer_state() {
            OptimizerState::None => None,
            OptimizerState::Moments(dtype) => {
                let is_bf16 = is_matrix && dtype == MomentsDtype::Bf16;
                let shape = shape.iter().copied().chain([2]).collect();
                Some((if is_bf16 { Dtype::BF16 } else { Dtype::F32 }, shape))
            }
            OptimizerState::Means => match *shape {
                [rows, cols] if is_matrix => Some((Dtype::F32, vec![rows + cols])),
                _ => Some((Dtype::F32, vec![shape.iter().product()])),
            },
        }
    }

    /// What the optimizer keeps of a trained tensor; `None` if there is no such tensor, or nothing is kept. AdamW: first and
    /// second moment of each weight, row-major; of BF16 moments, the first and the root of the second. AdaLomo: means of
    /// squares of rows, and then of columns; of vectors and adapters, of each element.
    pub async fn read_state(&self, name: &str) -> Result<Option<Vec<f32>>, TrainError> {
        let mut numbers = Vec::new();
        for buffer in self.state_buffers(name) {
            let bytes = download(&self.gpu, buffer, buffer.size()).await?;
            numbers.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes));
        }
        if let Some(matrix) = self.matrix(name) {
            for piece in &matrix.pieces {
                let [first, root] = piece.moments.kept() else { continue };
                let first = self.bits_of(matrix, piece, &first.stored).await?;
                let root = self.bits_of(matrix, piece, &root.stored).await?;
                let number = |bits| bf16::from_bits(bits).to_f32();
                numbers.extend(first.into_iter().zip(root).flat_map(|(a, b)| [number(a), number(b)]));
            }
        }
        Ok((!numbers.is_empty()).then_some(numbers))
    }

    /// Sets what the optimizer keeps of a trained tensor, to as many numbers as [`Self::read_state`] gives. A step has to
    /// be recorded anew after that.
    pub(super) async fn write_state(&mut self, name: &str, numbers: &[f32]) -> Result<(), TrainError> {
        let mut uploader = Uploader::within(&self.gpu, Uploader::LEAST)?;
        let mut rest = numbers;
        for buffer in self.state_buffers(name) {
            let (own, others) = rest.split_at_checked(buffer.size() as usize / 4).ok_or(TOO_FEW)?;
            uploader.write(buffer, 0, bytemuck::cast_slice(own)).await?;
            rest = others;
        }
        let encoding = self.room.wide.as_ref().map(super::step::Wide::encoding);
        let mut matrices = self.model.matrices_mut();
        if let Some(matrix) = matrices.find(|matrix| matrix.name == name) {
            write_kept(&self.gpu, &mut uploader, matrix, rest, encoding.as_ref()).await?;
        }
        Ok(())
    }

    fn matrix(&self, name: &str) -> Option<&TrainedMatrix> {
        self.model.matrices().find(|matrix| matrix.name == name)
    }

    /// The buffers of F32 numbers that the optimizer keeps of a tensor.
    fn state_buffers(&self, name: &str) -> impl Iterator<Item = &Buffer> {
        let vector = self.model.vectors().find(|vector| vector.name == name).or(self.factor(name));
        let of_pieces = self.matrix(name).into_iter().flat_map(|matrix| {
            let moments = matrix.pieces.iter().filter_map(|piece| match &piece.moments {
                PieceMoments::F32(moments) => Some(moments),
                PieceMoments::No | PieceMoments::Bf16(_) => None,
            });
            moments.chain(&matrix.means)
        });
        vector.into_iter().filter_map(|vector| vector.state.as_ref()).chain(of_pieces)
    }
}

const TOO_FEW: TrainError = TrainError::Internal("there are fewer numbers than the optimizer keeps");

/// Sets moments that are stored as weights are: pairs, row by row.
async fn write_kept(
    gpu: &Gpu,
    uploader: &mut Uploader,
    matrix: &mut TrainedMatrix,
    numbers: &[f32],
    encoding: Option<&Encoding<'_>>,
) -> Result<(), TrainError> {
    let mut rest = numbers;
    for piece in &mut matrix.pieces {
        let size = Matrix { rows: piece.rows.len(), cols: matrix.cols };
        let kept = piece.moments.kept_mut();
        let (own, others) = rest.split_at_checked(kept.len() * size.rows * size.cols).ok_or(TOO_FEW)?;
        rest = others;
        for (which, Kept { number, stored }) in kept.iter_mut().enumerate() {
            let bits: Vec<u16> =
                own.iter().skip(which).step_by(2).map(|&n| bf16::from_f32(n).to_bits()).collect();
            let encoding = encoding.map(|encoding| (encoding, Transcoded::Fast));
            *stored = store(gpu, uploader, "moments", size, &bits, *number, encoding).await?;
        }
    }
    Ok(())
}
