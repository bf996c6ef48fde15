//! The pieces in which a tensor is encoded, and the checksums of groups that they make up.

use std::ops::Range;

use crate::codec::payload::checksum::{Checksum, checksum};

/// A unit of encoding: a group, or some columns of a group that is a single row block.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub row_blocks: Range<usize>,
    pub col_tiles: Range<usize>,
    pub is_whole: bool,
    pub ends_group: bool,
    /// Whether it is the tensor's last piece.
    pub is_last: bool,
}

impl Piece {
    /// The checksum of `bytes`, this piece's share of a section, if the piece is a whole group.
    pub fn checksum(&self, bytes: &[u8]) -> Option<u64> {
        self.is_whole.then(|| checksum(bytes))
    }
}

/// The checksums of a section's groups.
#[derive(Default)]
pub(crate) struct Sums {
    pub done: Vec<u64>,
    /// The unfinished checksum of a group that has more pieces to come.
    open: Checksum,
}

impl Sums {
    /// Continues with `bytes`, the share of `piece`; `whole` is its checksum if it is a whole group.
    pub fn add(&mut self, piece: &Piece, whole: Option<u64>, bytes: &[u8]) {
        if whole.is_none() {
            self.open.add(bytes);
        }
        if piece.ends_group {
            let open = std::mem::take(&mut self.open);
            self.done.push(whole.unwrap_or_else(|| open.finish()));
        }
    }
}
