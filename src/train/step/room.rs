//! Memory for the piece of a matrix that is being worked on, and products with it.

use std::sync::Arc;

use super::adapters::AdapterOf;
use super::ops::Ops;
use super::{Recording, Side};
use crate::gpu::kernels::training::encode::{EncodeScratch, Needs};
use crate::gpu::kernels::training::multiply::{Multiply, Operand};
use crate::gpu::kernels::training::update::{self, Update};
use crate::gpu::kernels::training::{Columns, add_bias, unpack};
use crate::gpu::{Bound, Buffer, Gpu, GpuError};
use crate::tensor::Matrix;
use crate::train::TrainError;
use crate::train::weights::{Piece, Stored, TrainedMatrix, TrainedPair, TrainedVector, wide_bytes};

/// Memory for the pieces that are being worked on.
#[derive(Debug)]
pub(crate) struct Room {
    /// A piece's weights in F32, row by row.
    pub unpacked: Buffer,
    /// Their gradients.
    pub grads: Buffer,
    /// Uncompressed weights, where matrices are stored otherwise.
    pub wide: Option<Wide>,
}

/// Memory for uncompressed weights: of a piece that is only read, and behind it of pieces that are changed. These stay
/// until the host has seen that they were encoded.
#[derive(Debug)]
pub(crate) struct Wide {
    pub buffer: Arc<Buffer>,
    /// Bytes of a piece that is only read.
    read: u64,
    /// What pieces are encoded with.
    pub scratch: EncodeScratch,
    /// What each piece needs.
    pub needs: Buffer,
}

/// Bytes of pieces that are changed before the host looks, unless a single one has more.
const MOST_CHANGED: u64 = 16 << 20;

/// Pieces can be bound at multiples of so many bytes.
const ALIGNMENT: u64 = 256;

impl Room {
    /// Room for so many weights.
    pub fn new(gpu: &Gpu, weights: usize, wide: Option<Wide>) -> Result<Self, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let room = |label| gpu.buffer(label, 4 * weights as u64, usage);
        Ok(Self { unpacked: room("weights in F32")?, grads: room("gradients")?, wide })
    }
}

impl Wide {
    /// Bytes for a piece that is only read, and for pieces that are changed.
    pub fn bytes(pieces: &[Matrix]) -> [u64; 2] {
        let aligned = |piece: &Matrix| wide_bytes(piece.rows, piece.cols).next_multiple_of(ALIGNMENT);
        let read = pieces.iter().map(aligned).max().unwrap_or(0);
        [read, pieces.iter().map(aligned).sum::<u64>().min(MOST_CHANGED).max(read)]
    }

    /// Room for any of `pieces`.
    pub fn new(gpu: &Gpu, pieces: &[Matrix]) -> Result<Self, GpuError> {
        let [read, changed] = Self::bytes(pieces);
        let largest = |of: fn(&Matrix) -> usize| pieces.iter().map(of).max().unwrap_or(0);
        let (rows, weights) = (largest(|piece| piece.rows), largest(|piece| piece.rows * piece.cols));
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let needs = gpu.buffer("needs", (pieces.len() * size_of::<Needs>()) as u64, usage)?;
        Ok(Self {
            buffer: Arc::new(gpu.buffer("uncompressed weights", read + changed, usage)?),
            read,
            scratch: EncodeScratch::new(gpu, rows, weights)?,
            needs,
        })
    }
}

/// A matrix, and what is added to products with it.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub matrix: &'a TrainedMatrix,
    pub bias: Option<&'a TrainedVector>,
    pub pair: Option<&'a TrainedPair>,
}

/// Where the uncompressed weights of a piece are while it is worked on.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// Where they are stored.
    Own(&'a Buffer),
    /// From a byte of the room on.
    Room { part: Buffer, at: u64 },
}

impl Place<'_> {
    fn bound(&self) -> Bound<'_> {
        match self {
            Self::Own(buffer) => (*buffer).into(),
            Self::Room { part, .. } => part.into(),
        }
    }
}

impl Recording<'_> {
    /// Uncompresses a piece, if it is compressed. A piece that is changed has a place of its own until the host looks.
    pub(super) fn widen<'p>(
        &self,
        ops: &mut Ops,
        matrix: &TrainedMatrix,
        piece: &'p Piece,
        is_changed: bool,
    ) -> Result<Place<'p>, TrainError> {
        let (wide, bytes) = match (&piece.stored, &self.room.wide) {
            (Stored::Raw(words), _) => return Ok(Place::Own(words)),
            (_, Some(wide)) => (wide, matrix.wide_bytes(piece)),
            (_, None) => return Err(TrainError::Internal("there is no room for uncompressed weights")),
        };
        let mut at = 0;
        if is_changed {
            if self.changed_to.get().max(wide.read) + bytes > wide.buffer.size() {
                ops.look();
                self.changed_to.set(0);
            }
            at = self.changed_to.get().max(wide.read);
            self.changed_to.set((at + bytes).next_multiple_of(ALIGNMENT));
        }
        let part = Buffer::part_of(&wide.buffer, at..at + bytes);
        match &piece.stored {
            Stored::Encoded(encoded) => ops.push(encoded.widen(self.gpu, (&part).into())?),
            Stored::Raw(words) | Stored::Copied(words) => ops.copy_to(words, &wide.buffer, at),
        }
        Ok(Place::Room { part, at })
    }

    /// Brings a piece to the room in F32.
    pub(super) fn bring<'p>(
        &self,
        ops: &mut Ops,
        matrix: &TrainedMatrix,
        piece: &'p Piece,
        is_changed: bool,
    ) -> Result<Place<'p>, TrainError> {
        let place = self.widen(ops, matrix, piece, is_changed)?;
        let to = &self.room.unpacked;
        ops.push(unpack::dispatch(self.gpu, &matrix.params(piece), place.bound(), to)?);
        Ok(place)
    }

    /// `y = W x` for the rows of a piece that is in the room, with results from element `to` of `y` on.
    pub(super) fn multiply_piece(
        &self,
        ops: &mut Ops,
        [rows, cols]: [usize; 2],
        x: Side<'_>,
        y: Side<'_>,
        accumulate: bool,
    ) -> Result<(), TrainError> {
        let operands = [
            Operand::rows(x.stride).at(x.first),
            Operand::rows(cols).transposed(),
            Operand::rows(y.stride).at(y.first),
        ];
        let product = Multiply::one([self.sizes.tokens(), rows, cols], operands);
        let with = [x.buffer, &self.room.unpacked, y.buffer];
        self.multiply(ops, &product, accumulate, with)
    }

    /// Gradients of `x` from those of `y`, of which the piece in the room has `rows` rows.
    pub(super) fn multiply_piece_back(
        &self,
        ops: &mut Ops,
        [rows, cols]: [usize; 2],
        y_grad: Side<'_>,
        x_grad: Side<'_>,
        accumulate: bool,
    ) -> Result<(), TrainError> {
        let operands = [
            Operand::rows(y_grad.stride).at(y_grad.first),
            Operand::rows(cols),
            Operand::rows(x_grad.stride).at(x_grad.first),
        ];
        let product = Multiply::one([self.sizes.tokens(), cols, rows], operands);
        let with = [y_grad.buffer, &self.room.unpacked, x_grad.buffer];
        self.multiply(ops, &product, accumulate, with)
    }

    /// Gradients of a piece's weights, in the room.
    pub(super) fn piece_grads(
        &self,
        ops: &mut Ops,
        [rows, cols]: [usize; 2],
        x: Side<'_>,
        y_grad: Side<'_>,
    ) -> Result<(), TrainError> {
        let operands = [
            Operand::rows(y_grad.stride).at(y_grad.first).transposed(),
            Operand::rows(x.stride).at(x.first),
            Operand::rows(cols),
        ];
        let product = Multiply::one([rows, cols, self.sizes.tokens()], operands);
        self.multiply(ops, &product, false, [y_grad.buffer, x.buffer, &self.room.grads])
    }

    /// Changes a piece's weights by the gradients in the room, and stores them as they were stored.
    pub(super) fn update_piece(
        &self,
        ops: &mut Ops,
        matrix: &TrainedMatrix,
        piece: &Piece,
        place: &Place<'_>,
    ) -> Result<(), TrainError> {
        let with = Update {
            step: &self.activations.step,
            grads: &self.room.grads,
            words: place.bound(),
            moments: piece.moments.as_ref().map(Bound::from),
            status: &self.activations.status,
        };
        ops.push(update::dispatch(self.gpu, &matrix.params(piece), self.rounded, &with)?);
        match (&piece.stored, place, &self.room.wide) {
            (Stored::Encoded(encoded), _, Some(wide)) => {
                let needs = (&wide.needs, piece.number as u32);
                ops.encode(encoded.encode(self.gpu, place.bound(), &wide.scratch, needs)?);
            }
            (Stored::Copied(words), Place::Room { at, .. }, Some(wide)) => {
                ops.store(&wide.buffer, *at, words)
            }
            _ => {}
        }
        Ok(())
    }

    /// `y = W x`, plus the bias and what the adapter adds.
    pub(super) fn product(
        &self,
        ops: &mut Ops,
        Product { matrix, bias, pair }: Product<'_>,
        x: Side<'_>,
        y: Side<'_>,
        accumulate: bool,
    ) -> Result<(), TrainError> {
        for piece in &matrix.pieces {
            self.bring(ops, matrix, piece, false)?;
            let y = Side { first: y.first + piece.rows.start, ..y };
            self.multiply_piece(ops, [piece.rows.len(), matrix.cols], x, y, accumulate)?;
        }
        if let Some(bias) = bias {
            let columns = self.columns(matrix.rows, y);
            ops.push(add_bias::dispatch(self.gpu, &columns, [&bias.weights, y.buffer])?);
        }
        match pair {
            Some(pair) => self.adapt(ops, AdapterOf { pair, rows: matrix.rows, cols: matrix.cols }, x, y),
            None => Ok(()),
        }
    }

    /// Gradients of `x` from those of `y`; and after that updates of the weights and the bias, or of the adapter where
    /// adapters are trained.
    pub(super) fn product_back(
        &self,
        ops: &mut Ops,
        Product { matrix, bias, pair }: Product<'_>,
        x: Side<'_>,
        y_grad: Side<'_>,
        (x_grad, accumulate): (Side<'_>, bool),
    ) -> Result<(), TrainError> {
        let is_frozen = self.adapters().is_some();
        for (i, piece) in matrix.pieces.iter().enumerate() {
            let size = [piece.rows.len(), matrix.cols];
            let y_grad = Side { first: y_grad.first + piece.rows.start, ..y_grad };
            let place = self.bring(ops, matrix, piece, !is_frozen)?;
            self.multiply_piece_back(ops, size, y_grad, x_grad, accumulate || i > 0)?;
            if !is_frozen {
                self.piece_grads(ops, size, x, y_grad)?;
                self.update_piece(ops, matrix, piece, &place)?;
            }
        }
        match (bias, pair) {
            (_, Some(pair)) => {
                let of = AdapterOf { pair, rows: matrix.rows, cols: matrix.cols };
                self.adapt_back(ops, of, x, y_grad, x_grad)
            }
            (Some(bias), None) if !is_frozen => self.bias_back(ops, bias, y_grad),
            _ => Ok(()),
        }
    }

    /// So many elements of every token.
    pub(super) fn columns(&self, count: usize, side: Side<'_>) -> Columns {
        Columns {
            columns: count as u32,
            tokens: self.sizes.tokens() as u32,
            stride: side.stride as u32,
            first: side.first as u32,
        }
    }
}
