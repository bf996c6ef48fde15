//! The tiles of a payload that are read.

use std::ops::Range;

use super::layouts::{DenseFormat, Format, Table, Transcoded};
use crate::codec::grid::LANES;
use crate::codec::head::{Head, Kind, Tiled};
use crate::codec::{Kept, Precision};
use crate::gpu::Gpu;
use crate::tensor::Dtype;

/// The tiles of a payload, and the part of them that is read.
#[derive(Debug, Clone)]
pub struct Tiles<'a> {
    pub(in crate::gpu) tiled: &'a Tiled,
    pub(in crate::gpu) kept: Kept,
    pub(in crate::gpu) dtype: Dtype,
    /// The selected row blocks.
    pub(in crate::gpu) row_blocks: Range<usize>,
}

impl<'a> Tiles<'a> {
    /// All tiles of the payload with this head; `None` if it is not tiled.
    pub(in crate::gpu) fn of(head: &'a Head, precision: Precision) -> Option<Self> {
        let Kind::Tiled(tiled) = &head.kind else { return None };
        let kept = tiled.kept(precision);
        Some(Self { tiled, kept, dtype: head.dtype, row_blocks: 0..tiled.grid.row_blocks })
    }

    /// The tiles for products: `None` also if products do not support the element type.
    pub fn for_products(head: &'a Head, precision: Precision) -> Option<Self> {
        Self::of(head, precision).filter(|tiles| Format::raw(tiles.dtype).is_some())
    }

    /// The same for only these row blocks.
    pub fn of_row_blocks(&self, row_blocks: Range<usize>) -> Self {
        Self { row_blocks, ..self.clone() }
    }

    /// The selected row blocks.
    pub fn row_blocks(&self) -> Range<usize> {
        self.row_blocks.clone()
    }

    /// Number of selected rows.
    pub(in crate::gpu) fn rows(&self) -> usize {
        let Range { start, end } = self.row_blocks;
        (end * LANES).min(self.tiled.grid.matrix.rows) - start * LANES
    }

    /// Bytes of a row block in `layout`; `None` if the tiles cannot have it, for example because they were rounded.
    pub fn transcoded_row_block_bytes(&self, layout: Transcoded) -> Option<u64> {
        let bytes = layout.row_block_bytes(self.dtype, &self.tiled.grid)?;
        self.tiled.scaled.is_none().then_some(bytes as u64)
    }
}

/// The format of tiles on `gpu`, and the table in which windows of their streams are looked up.
pub(in crate::gpu) fn dense_format(gpu: &Gpu, tiles: &Tiles<'_>) -> (DenseFormat, Vec<u32>) {
    let Tiles { tiled, kept, .. } = *tiles;
    let mut dense = DenseFormat::of(tiled, kept);
    let table = dense.window_table(tiled);
    dense.table = Table::of(gpu.target(), table.len().ilog2() as u8);
    (dense, table)
}
