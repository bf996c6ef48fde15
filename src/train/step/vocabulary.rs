//! The embedding, the output matrix and the loss: piece by piece, so that never all logits are there.

use super::ops::Ops;
use super::room::Place;
use super::{Recording, Side};
use crate::gpu::kernels::training::embed_rows::TableRows;
use crate::gpu::kernels::training::logit_stats::VocabularyPart;
use crate::gpu::kernels::training::{embed_grad, embed_rows, logit_grad, logit_stats};
use crate::train::TrainError;
use crate::train::weights::{Piece, TrainedMatrix};

impl Recording<'_> {
    /// The matrix that logits are products with.
    fn output(&self) -> &TrainedMatrix {
        self.model.output.as_ref().unwrap_or(&self.model.embedding)
    }

    /// Whether the logits of the whole vocabulary stay from one pass to the next.
    fn is_whole(&self) -> bool {
        self.output().pieces.len() == 1
    }

    /// The rows of the embedding that tokens have.
    pub(super) fn look_up(&self, ops: &mut Ops) -> Result<(), TrainError> {
        let (a, embedding) = (self.activations, &self.model.embedding);
        for piece in &embedding.pieces {
            self.bring(ops, embedding, piece, false)?;
            let with = [&a.ids, &self.room.unpacked, &a.x];
            ops.push(embed_rows::dispatch(self.gpu, &self.rows(piece), self.sizes.tokens(), with)?);
        }
        Ok(())
    }

    /// What is known of the logits of every token.
    pub(super) fn loss(&self, ops: &mut Ops) -> Result<(), TrainError> {
        let a = self.activations;
        self.norm(ops, &self.model.last_norm, [&a.x, &a.last_normed])?;
        for piece in &self.output().pieces {
            self.logits(ops, piece, false)?;
            let with = [&a.logits, &a.targets, &a.stats, &a.running];
            ops.push(logit_stats::dispatch(self.gpu, &self.part(piece), self.sizes.tokens(), with)?);
        }
        Ok(())
    }

    /// Gradients of the residual stream after the last layer. Updates the output matrix, unless it is the embedding or
    /// adapters are trained.
    pub(super) fn loss_back(&self, ops: &mut Ops) -> Result<(), TrainError> {
        let (a, output) = (self.activations, self.output());
        let is_own = self.model.output.is_some() && self.adapters().is_none();
        let changes = is_own && !self.changes_whole_matrices();
        let x = Side::all(&a.last_normed, output.cols);
        for (i, piece) in output.pieces.iter().enumerate() {
            let size = [piece.rows.len(), output.cols];
            let place = match self.is_whole() {
                true => self.bring(ops, output, piece, changes)?,
                false => self.logits(ops, piece, changes)?,
            };
            self.logit_grads(ops, piece)?;
            let to = Side::all(&a.normed_grad, output.cols);
            self.multiply_piece_back(ops, size, self.logits_of(piece), to, i > 0)?;
            if changes {
                self.piece_grads(ops, size, x, self.logits_of(piece))?;
                self.update_piece(ops, output, piece, &place)?;
            }
        }
        if is_own && !changes {
            let grads = |ops: &mut Ops, piece: &Piece| {
                if !self.is_whole() {
                    self.logits(ops, piece, false)?;
                    self.logit_grads(ops, piece)?;
                }
                self.piece_grads(ops, [piece.rows.len(), output.cols], x, self.logits_of(piece))
            };
            self.update_matrix(ops, output, &grads)?;
        }
        ops.clear(&a.x_grad);
        self.norm_back(ops, &self.model.last_norm, [&a.x, &a.normed_grad, &a.x_grad])
    }

    /// Updates the embedding, from the gradients of what was looked up, and if it is the output matrix, from those of
    /// logits.
    pub(super) fn embedding_back(&self, ops: &mut Ops) -> Result<(), TrainError> {
        let embedding = &self.model.embedding;
        if self.changes_whole_matrices() {
            let grads = |ops: &mut Ops, piece: &Piece| self.embedding_grads(ops, piece, false).map(drop);
            return self.update_matrix(ops, embedding, &grads);
        }
        for piece in &embedding.pieces {
            let place = self.embedding_grads(ops, piece, true)?;
            self.update_piece(ops, embedding, piece, &place)?;
        }
        Ok(())
    }

    /// Gradients of a piece of the embedding. Gives where the piece is, uncompressed.
    fn embedding_grads<'p>(
        &self,
        ops: &mut Ops,
        piece: &'p Piece,
        is_changed: bool,
    ) -> Result<Place<'p>, TrainError> {
        let (a, embedding) = (self.activations, &self.model.embedding);
        let is_tied = self.model.output.is_none();
        let x = Side::all(&a.last_normed, embedding.cols);
        let place = if is_tied && !self.is_whole() {
            let place = self.logits(ops, piece, is_changed)?;
            self.logit_grads(ops, piece)?;
            place
        } else {
            self.widen(ops, embedding, piece, is_changed)?
        };
        if is_tied {
            self.piece_grads(ops, [piece.rows.len(), embedding.cols], x, self.logits_of(piece))?;
        }
        let with = [&a.row_starts, &a.row_places, &a.x_grad, &self.room.grads];
        let (rows, tokens) = (self.rows(piece), self.sizes.tokens());
        ops.push(embed_grad::dispatch(self.gpu, &rows, tokens, is_tied, with)?);
        Ok(place)
    }

    /// Logits of a piece of the vocabulary, which is brought to the room in F32. Gives where it is uncompressed.
    fn logits<'p>(&self, ops: &mut Ops, piece: &'p Piece, is_changed: bool) -> Result<Place<'p>, TrainError> {
        let output = self.output();
        let place = self.bring(ops, output, piece, is_changed)?;
        let x = Side::all(&self.activations.last_normed, output.cols);
        self.multiply_piece(ops, [piece.rows.len(), output.cols], x, self.logits_of(piece), false)?;
        Ok(place)
    }

    /// Their gradients, where they are.
    fn logit_grads(&self, ops: &mut Ops, piece: &Piece) -> Result<(), TrainError> {
        let a = self.activations;
        let with = [&a.targets, &a.stats, &a.logits];
        ops.push(logit_grad::dispatch(self.gpu, &a.step, &self.part(piece), self.sizes.tokens(), with)?);
        Ok(())
    }

    fn logits_of(&self, piece: &Piece) -> Side<'_> {
        Side::all(&self.activations.logits, piece.rows.len())
    }

    fn part(&self, piece: &Piece) -> VocabularyPart {
        let rows = piece.rows.len() as u32;
        VocabularyPart { first: piece.rows.start as u32, rows, stride: rows, unused: 0 }
    }

    fn rows(&self, piece: &Piece) -> TableRows {
        let columns = self.config.hidden as u32;
        TableRows { first: piece.rows.start as u32, count: piece.rows.len() as u32, columns, stride: columns }
    }
}
