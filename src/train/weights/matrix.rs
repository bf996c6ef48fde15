//! A matrix that is trained: pieces of whole row blocks, each small enough to be worked on at once.

use std::ops::Range;

use super::moments::PieceMoments;
use super::stored::Stored;
use super::wide::wide_bytes;
use crate::codec::grid::LANES;
use crate::gpu::Buffer;
use crate::gpu::kernels::training::unpack::WidePiece;
use crate::gpu::weights::layouts::raw;
use crate::tensor::Dtype;

/// A matrix of BF16.
#[derive(Debug)]
pub(crate) struct TrainedMatrix {
    pub name: String,
    /// Its number, on which stochastic rounding depends.
    pub tensor: u32,
    pub rows: usize,
    pub cols: usize,
    pub pieces: Vec<Piece>,
    /// Means of squares of rows, and of columns, if the optimizer keeps some.
    pub means: Option<Buffer>,
}

/// Some row blocks of a matrix.
#[derive(Debug)]
pub(crate) struct Piece {
    pub rows: Range<usize>,
    /// Its number among the pieces of all matrices.
    pub number: usize,
    /// The weights.
    pub stored: Stored,
    /// What the optimizer keeps for each of them.
    pub moments: PieceMoments,
}

impl TrainedMatrix {
    /// The parameters of kernels that work on a piece.
    pub fn params(&self, piece: &Piece) -> WidePiece {
        WidePiece {
            rows: piece.rows.len() as u32,
            columns: self.cols as u32,
            first_row: piece.rows.start as u32,
            tensor: self.tensor,
            words_at: 0,
            unused: [0; 3],
        }
    }

    /// Bytes of a piece's weights, uncompressed.
    pub fn wide_bytes(&self, piece: &Piece) -> u64 {
        wide_bytes(piece.rows.len(), self.cols)
    }

    /// The weights of a piece, row by row, from its uncompressed words.
    pub fn bits_in(&self, piece: &Piece, bytes: &[u8]) -> Vec<u16> {
        let row_vectors = raw::row_block_bytes(Dtype::BF16, self.cols) / LANES / 16;
        let bit = |row: usize, col: usize| {
            let vector = (row / LANES * row_vectors + col / 8) * LANES + row % LANES;
            let at = 16 * vector + 2 * (col % 8);
            // Words have this machine's byte order.
            let at = if cfg!(target_endian = "big") { at ^ 2 } else { at };
            u16::from_ne_bytes([bytes[at], bytes[at + 1]])
        };
        (0..piece.rows.len()).flat_map(|row| (0..self.cols).map(move |col| bit(row, col))).collect()
    }
}
