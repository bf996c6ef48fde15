//! Updates that depend on all gradients of a matrix: those of AdaLomo.

use super::Recording;
use super::ops::Ops;
use crate::gpu::kernels::training::adalomo::factors::{self, Factors};
use crate::gpu::kernels::training::adalomo::{change, limit};
use crate::gpu::kernels::training::{MatrixPart, square_columns, square_rows};
use crate::gpu::{Buffer, Gpu, GpuError};
use crate::tensor::Matrix;
use crate::train::TrainError;
use crate::train::weights::{Piece, TrainedMatrix};

/// Sums of squares of a matrix's rows and columns, and factors of them.
#[derive(Debug)]
pub(crate) struct FactorRoom {
    row_squares: Buffer,
    weight_squares: Buffer,
    row_scales: Buffer,
    column_squares: Buffer,
    column_scales: Buffer,
}

impl FactorRoom {
    /// Bytes of what there is for rows, and of what there is for columns.
    pub fn bytes(matrices: &[Matrix]) -> [u64; 2] {
        let most = |of: fn(&Matrix) -> usize| matrices.iter().map(of).max().unwrap_or(0);
        [most(|matrix| matrix.rows), most(|matrix| matrix.cols)]
            .map(|count| Gpu::buffer_bytes(4 * count as u64))
    }

    /// Bytes of all of it.
    pub fn all_bytes(matrices: &[Matrix]) -> u64 {
        let [rows, columns] = Self::bytes(matrices);
        3 * rows + 2 * columns
    }

    /// Room for any of `matrices`.
    pub fn new(gpu: &Gpu, matrices: &[Matrix]) -> Result<Self, GpuError> {
        let [rows, columns] = Self::bytes(matrices);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        Ok(Self {
            row_squares: gpu.buffer("squares of rows", rows, usage)?,
            weight_squares: gpu.buffer("squares of weights", rows, usage)?,
            row_scales: gpu.buffer("factors of rows", rows, usage)?,
            column_squares: gpu.buffer("squares of columns", columns, usage)?,
            column_scales: gpu.buffer("factors of columns", columns, usage)?,
        })
    }
}

/// Brings the gradients of a piece's weights to the room.
pub(super) type PieceGrads<'a> = dyn Fn(&mut Ops, &Piece) -> Result<(), TrainError> + 'a;

impl Recording<'_> {
    /// Whether updates depend on all gradients of a matrix.
    pub(super) fn changes_whole_matrices(&self) -> bool {
        self.room.factors.is_some()
    }

    /// Updates a matrix. Gradients of a matrix in several pieces are computed three times, because they are never all
    /// there.
    pub(super) fn update_matrix(
        &self,
        ops: &mut Ops,
        matrix: &TrainedMatrix,
        grads: &PieceGrads<'_>,
    ) -> Result<(), TrainError> {
        let (Some(room), Some(means)) = (&self.room.factors, &matrix.means) else {
            return Err(TrainError::Internal("there is no room for factors"));
        };
        let (gpu, step) = (self.gpu, &self.activations.step);
        let of_grads = &self.room.grads;
        for (i, piece) in matrix.pieces.iter().enumerate() {
            let part = MatrixPart::new(piece.rows.clone(), matrix.cols);
            grads(ops, piece)?;
            ops.push(square_rows::dispatch(gpu, &part, [of_grads, &room.row_squares], None)?);
            ops.push(square_columns::dispatch(gpu, &part, i > 0, [of_grads, &room.column_squares])?);
            self.bring(ops, matrix, piece, false)?;
            ops.push(square_rows::dispatch(gpu, &part, [&self.room.unpacked, &room.weight_squares], None)?);
        }
        let whole = MatrixPart::new(0..matrix.rows, matrix.cols);
        let scales = [&room.row_scales, &room.column_scales];
        let with = Factors {
            step,
            squares: [&room.row_squares, &room.column_squares],
            means,
            scales,
            status: &self.activations.status,
        };
        ops.push(factors::dispatch(gpu, &whole, &with)?);
        let is_cut = matrix.pieces.len() > 1;
        for piece in &matrix.pieces {
            if is_cut {
                grads(ops, piece)?;
            }
            let part = MatrixPart::new(piece.rows.clone(), matrix.cols);
            ops.push(square_rows::dispatch(gpu, &part, [of_grads, &room.row_squares], Some(scales))?);
        }
        let buffers = [step, &room.row_squares, &room.weight_squares, &room.row_scales];
        ops.push(limit::dispatch(gpu, &whole, buffers)?);
        for piece in &matrix.pieces {
            if is_cut {
                grads(ops, piece)?;
            }
            let part = MatrixPart::new(piece.rows.clone(), matrix.cols);
            ops.push(change::dispatch(gpu, &part, [of_grads, scales[0], scales[1]])?);
            let place = self.widen(ops, matrix, piece, true)?;
            self.update_piece(ops, matrix, piece, &place)?;
        }
        Ok(())
    }
}
