//! The tiles of a payload, as much of them as is read.

use std::ops::Range;

use super::layouts::fast;
use super::layouts::{DenseFormat, Format, Table};
use crate::codec::grid::LANES;
use crate::codec::head::{Head, Kind, Tiled};
use crate::codec::{Kept, Precision};
use crate::gpu::Gpu;
use crate::tensor::Dtype;

/// The tiles of a payload, and what is read of them.
#[derive(Debug, Clone)]
pub struct Tiles<'a> {
    pub(in crate::gpu) tiled: &'a Tiled,
    pub(in crate::gpu) kept: Kept,
    pub(in crate::gpu) dtype: Dtype,
    /// The rows that are meant.
    pub(in crate::gpu) row_blocks: Range<usize>,
}

impl<'a> Tiles<'a> {
    /// All tiles of the payload that has this head; `None` where it is not tiled.
    pub(in crate::gpu) fn of(head: &'a Head, precision: Precision) -> Option<Self> {
        let Kind::Tiled(tiled) = &head.kind else { return None };
        let kept = tiled.kept(precision);
        Some(Self { tiled, kept, dtype: head.dtype, row_blocks: 0..tiled.grid.row_blocks })
    }

    /// As many as products can read: `None` for elements of other types than theirs too.
    pub fn for_products(head: &'a Head, precision: Precision) -> Option<Self> {
        Self::of(head, precision).filter(|tiles| Format::raw(tiles.dtype).is_some())
    }

    /// The same, of some row blocks alone.
    pub fn of_row_blocks(&self, row_blocks: Range<usize>) -> Self {
        Self { row_blocks, ..self.clone() }
    }

    /// Row blocks that there are.
    pub fn row_blocks(&self) -> Range<usize> {
        self.row_blocks.clone()
    }

    /// Rows that are meant.
    pub(in crate::gpu) fn rows(&self) -> usize {
        let Range { start, end } = self.row_blocks;
        (end * LANES).min(self.tiled.grid.matrix.rows) - start * LANES
    }

    /// Bytes that a row block has in the fast layout; `None` where there is none, as for what was rounded.
    pub fn fast_row_block_bytes(&self) -> Option<u64> {
        let grid = &self.tiled.grid;
        (self.tiled.scaled.is_none() && fast::suits(self.dtype, grid))
            .then(|| fast::row_block_bytes(grid) as u64)
    }
}

/// How tiles are stored on `gpu`, and the table that windows of their streams are looked up in.
pub(in crate::gpu) fn dense_format(gpu: &Gpu, tiles: &Tiles<'_>) -> (DenseFormat, Vec<u32>) {
    let Tiles { tiled, kept, .. } = *tiles;
    let mut dense = DenseFormat::of(tiled, kept);
    let table = dense.window_table(tiled);
    dense.table = Table::of(gpu.target(), table.len().ilog2() as u8);
    (dense, table)
}
