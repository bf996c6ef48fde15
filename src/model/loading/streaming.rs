//! A streamed stage while the model is loaded.

use crate::archive::TensorReader;
use crate::codec::Precision;
use crate::gpu::SlotWords;
use crate::gpu::weights::{Piece, RowBlocks};
use crate::stream::StreamedStage;

/// A streamed stage while the model is loaded.
pub(crate) struct Streaming {
    pub slot: SlotWords,
    /// Used bytes of the slot.
    pub taken: u64,
    pub stage: StreamedStage,
}

impl Streaming {
    /// Adds pieces of the payload that `reader` reads.
    pub fn add(&mut self, reader: &TensorReader, pieces: &[Piece]) {
        self.stage.add(reader.file(), reader.start(), pieces);
        let end = pieces.iter().map(|piece| piece.at + piece.payload.len() as u64).max();
        self.taken = end.unwrap_or(self.taken).next_multiple_of(256);
    }

    /// Adds row blocks that are decoded at `precision` on their way.
    pub fn add_decoded(&mut self, reader: &TensorReader, precision: Precision, pieces: &[RowBlocks]) {
        self.stage.add_decoded(reader, precision, pieces);
        let end = pieces.iter().map(RowBlocks::end).max();
        self.taken = end.unwrap_or(self.taken).next_multiple_of(256);
    }
}
