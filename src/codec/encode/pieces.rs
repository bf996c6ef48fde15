//! The pieces that a tensor is encoded in, and the checksums of groups that are made of them.

use std::ops::Range;

use crate::codec::payload::checksum::{Checksum, checksum};

/// What is encoded in one go: a group, or some columns of one that is a single row block.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub row_blocks: Range<usize>,
    pub col_tiles: Range<usize>,
    pub is_whole: bool,
    pub ends_group: bool,
    /// Whether it is the last of the tensor.
    pub is_last: bool,
}

impl Piece {
    /// The checksum of `bytes`, its share of a section, if that is all of a group's.
    pub fn checksum(&self, bytes: &[u8]) -> Option<u64> {
        self.is_whole.then(|| checksum(bytes))
    }
}

/// The checksums of a section's groups.
#[derive(Default)]
pub(crate) struct Sums {
    pub done: Vec<u64>,
    /// Of the group that more pieces of are to come.
    open: Checksum,
}

impl Sums {
    /// Goes on with `bytes`, the share of `piece`, whose checksum is `whole` where it is a group.
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
