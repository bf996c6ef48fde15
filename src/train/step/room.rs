//! Memory for the piece of a matrix that is being worked on, and products with it.

use std::sync::Arc;

use super::adapters::AdapterOf;
use super::factors::FactorRoom;
use super::ops::Ops;
use super::{Recording, Side};
use crate::gpu::kernels::training::encode::{EncodeScratch, Needs};
use crate::gpu::kernels::training::multiply::{Multiply, Operand};
use crate::gpu::kernels::training::update::{self, MomentBuffers, Update};
use crate::gpu::kernels::training::{Columns, add_bias, unpack};
use crate::gpu::weights::WEIGHTS;
use crate::gpu::{Bound, Buffer, Gpu, GpuError};
use crate::tensor::Matrix;
use crate::train::TrainError;
use crate::train::weights::{
    Encoding, Piece, PieceMoments, Stored, TrainedMatrix, TrainedPair, TrainedVector, wide_bytes,
};

/// Memory for the pieces that are being worked on.
#[derive(Debug)]
pub(crate) struct Room {
    /// A piece's weights in F32, row by row.
    pub unpacked: Buffer,
    /// Their gradients.
    pub grads: Buffer,
    /// Uncompressed weights, where matrices are stored otherwise.
    pub wide: Option<Wide>,
    /// Sums and factors of a matrix, if the optimizer has them.
    pub factors: Option<FactorRoom>,
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
    /// How many tensors of a piece are changed together.
    together: u64,
}

/// Bytes of pieces that are changed before the host looks, unless a single one has more.
const MOST_CHANGED: u64 = 16 << 20;

/// Pieces can be bound at multiples of so many bytes.
const ALIGNMENT: u64 = 256;

impl Room {
    /// Room for so many weights.
    pub fn new(
        gpu: &Gpu,
        weights: usize,
        wide: Option<Wide>,
        factors: Option<FactorRoom>,
    ) -> Result<Self, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let room = |label| gpu.buffer(label, 4 * weights as u64, usage);
        Ok(Self { unpacked: room("weights in F32")?, grads: room("gradients")?, wide, factors })
    }
}

impl Wide {
    /// Bytes for a piece that is only read, and for pieces that are changed.
    ///
    /// `together` is how many tensors of a piece are changed together.
    pub fn bytes(pieces: &[Matrix], together: u64) -> [u64; 2] {
        let aligned = |piece: &Matrix| wide_bytes(piece.rows, piece.cols).next_multiple_of(ALIGNMENT);
        let read = pieces.iter().map(aligned).max().unwrap_or(0);
        let all = together * pieces.iter().map(aligned).sum::<u64>();
        [read, all.min(MOST_CHANGED).max(together * read)]
    }

    /// Bytes of what is written down of each piece.
    pub fn needs_bytes(pieces: &[Matrix], together: u64) -> u64 {
        pieces.len() as u64 * together * size_of::<Needs>() as u64
    }

    /// Room for any of `pieces`.
    pub fn new(gpu: &Gpu, pieces: &[Matrix], together: u64) -> Result<Self, GpuError> {
        let [read, changed] = Self::bytes(pieces, together);
        let largest = |of: fn(&Matrix) -> usize| pieces.iter().map(of).max().unwrap_or(0);
        let (rows, weights) = (largest(|piece| piece.rows), largest(|piece| piece.rows * piece.cols));
        let needs = gpu.buffer("needs", Self::needs_bytes(pieces, together), WEIGHTS)?;
        Ok(Self {
            buffer: Arc::new(gpu.buffer("uncompressed weights", read + changed, WEIGHTS)?),
            read,
            scratch: EncodeScratch::new(gpu, rows, weights)?,
            needs,
            together,
        })
    }

    /// What pieces are encoded with.
    pub fn encoding(&self) -> Encoding<'_> {
        Encoding { wide: &self.buffer, scratch: &self.scratch, needs: &self.needs }
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
        let bytes = matrix.wide_bytes(piece);
        if let Some(wide) = self.room.wide.as_ref().filter(|_| is_changed) {
            let all = wide.together * bytes.next_multiple_of(ALIGNMENT);
            if self.changed_to.get().max(wide.read) + all > wide.buffer.size() {
                ops.look();
                self.changed_to.set(0);
            }
        }
        self.widen_stored(ops, &piece.stored, bytes, is_changed)
    }

    /// Uncompresses what is stored as weights are.
    fn widen_stored<'p>(
        &self,
        ops: &mut Ops,
        stored: &'p Stored,
        bytes: u64,
        is_changed: bool,
    ) -> Result<Place<'p>, TrainError> {
        let wide = match (stored, &self.room.wide) {
            (Stored::Raw(words), _) => return Ok(Place::Own(words)),
            (_, Some(wide)) => wide,
            (_, None) => return Err(TrainError::Internal("there is no room for uncompressed weights")),
        };
        let mut at = 0;
        if is_changed {
            at = self.changed_to.get().max(wide.read);
            self.changed_to.set((at + bytes).next_multiple_of(ALIGNMENT));
        }
        let part = Buffer::part_of(&wide.buffer, at..at + bytes);
        match stored {
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

    /// Changes a piece's weights by the gradients in the room, and stores them, and what the optimizer keeps, as they
    /// were stored. The weights are at `place`, which was the last to be given to something that is changed.
    pub(super) fn update_piece(
        &self,
        ops: &mut Ops,
        matrix: &TrainedMatrix,
        piece: &Piece,
        place: &Place<'_>,
    ) -> Result<(), TrainError> {
        let bytes = matrix.wide_bytes(piece);
        let kept = piece.moments.kept();
        let places = kept.iter().map(|kept| self.widen_stored(ops, &kept.stored, bytes, true));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let moments = match (&piece.moments, &places[..]) {
            (PieceMoments::F32(moments), _) => MomentBuffers::F32(moments),
            (PieceMoments::Bf16(_), [first, second]) => MomentBuffers::Bf16([first.bound(), second.bound()]),
            _ => MomentBuffers::No,
        };
        let with = Update {
            step: &self.activations.step,
            grads: &self.room.grads,
            words: place.bound(),
            moments,
            status: &self.activations.status,
        };
        ops.push(update::dispatch(self.gpu, &matrix.params(piece), self.rounded, &with)?);
        self.store(ops, &piece.stored, piece.number, place)?;
        for (kept, place) in kept.iter().zip(&places) {
            self.store(ops, &kept.stored, kept.number, place)?;
        }
        Ok(())
    }

    /// Stores what was changed as it was stored.
    fn store(
        &self,
        ops: &mut Ops,
        stored: &Stored,
        number: usize,
        place: &Place<'_>,
    ) -> Result<(), TrainError> {
        match (stored, place, &self.room.wide) {
            (Stored::Encoded(encoded), _, Some(wide)) => {
                let needs = (&wide.needs, number as u32);
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
        let of_piece = |piece: &Piece| Side { first: y_grad.first + piece.rows.start, ..y_grad };
        // What looks at all gradients of a matrix before it changes any weight comes after the products.
        let changes = !is_frozen && !self.changes_whole_matrices();
        for (i, piece) in matrix.pieces.iter().enumerate() {
            let size = [piece.rows.len(), matrix.cols];
            let place = self.bring(ops, matrix, piece, changes)?;
            self.multiply_piece_back(ops, size, of_piece(piece), x_grad, accumulate || i > 0)?;
            if changes {
                self.piece_grads(ops, size, x, of_piece(piece))?;
                self.update_piece(ops, matrix, piece, &place)?;
            }
        }
        if !is_frozen && !changes {
            let grads = |ops: &mut Ops, piece: &Piece| {
                self.piece_grads(ops, [piece.rows.len(), matrix.cols], x, of_piece(piece))
            };
            self.update_matrix(ops, matrix, &grads)?;
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
