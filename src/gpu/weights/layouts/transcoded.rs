//! The layouts that are made on the device, from dense tiles.

use super::{fast, tiered};
use crate::codec::grid::Grid;
use crate::tensor::Dtype;

/// A layout that dense tiles are transcoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transcoded {
    /// [`Format::Fast`](super::Format::Fast).
    Fast,
    /// [`Format::Tiered`](super::Format::Tiered).
    Tiered,
}

impl Transcoded {
    /// All of them, the fastest first.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Tiered];

    /// What options, tables and records call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Tiered => "tiered",
        }
    }

    /// Bytes that a row block of `dtype` has, without what lies beside it; `None` where the layout cannot have the
    /// matrix.
    pub(in crate::gpu) fn row_block_bytes(self, dtype: Dtype, grid: &Grid) -> Option<usize> {
        match self {
            Self::Fast => fast::suits(dtype, grid).then(|| fast::row_block_bytes(grid)),
            Self::Tiered => tiered::suits(dtype, grid).then(|| tiered::row_block_bytes(grid)),
        }
    }

    /// The most that `row_blocks` row blocks of a matrix can take that do not stay dense, in bytes.
    pub(in crate::gpu) fn most_bytes(self, grid: &Grid, row_blocks: usize) -> u64 {
        match self {
            Self::Fast => fast::most_bytes(grid, row_blocks),
            Self::Tiered => tiered::most_bytes(grid, row_blocks),
        }
    }
}
