//! The device memory that a matrix needs.

use super::joining::TABLE_BYTES;
use super::layouts::{Format, Transcoded, raw};
use super::parts::{lay_out, slot_bytes, split_wide};
use super::tiles::Tiles;
use super::words::Words;
use crate::codec::grid::Grid;
use crate::gpu::{Gpu, GpuError};
use crate::tensor::{Dtype, Matrix};

/// The device memory that a matrix needs, computed from its head before anything is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixBytes {
    /// As dense tiles, tables included.
    pub dense: u64,
    /// Maximum bytes in the layout that it is transcoded to; `None` if it is not transcoded.
    pub transcoded: Option<u64>,
    /// In a slot.
    pub in_slot: u64,
    /// Outside the slot.
    pub beside_slot: u64,
    /// In a slot that it is decoded into, with nothing outside it; `None` if a row block does not fit a
    /// binding, or if no kernel reads its type.
    pub decoded: Option<u64>,
}

impl MatrixBytes {
    /// The bytes of these tiles, before and after they are transcoded `to` another layout.
    pub fn of(gpu: &Gpu, label: &str, tiles: &Tiles<'_>, to: Option<Transcoded>) -> Result<Self, GpuError> {
        let parts = |least| -> Result<Vec<u64>, GpuError> {
            Ok(lay_out(gpu, label, tiles, least)?.into_iter().map(|part| part.len).collect())
        };
        let dense = parts(0)?;
        let codes = 4 << tiles.tiled.code.longest();
        let to = to.and_then(|layout| Some((layout, tiles.transcoded_row_block_bytes(layout)?)));
        let transcoded = match to {
            // A matrix with too many exceptions stays dense, in these parts.
            Some((layout, block)) => {
                let count = parts(block)?.len() as u64;
                let most = layout.most_bytes(&tiles.tiled.grid, tiles.row_blocks.len());
                // Of each part the words and the table.
                Some(
                    most.max(dense.iter().sum::<u64>() + codes)
                        + (2 * Words::slack(gpu) + TABLE_BYTES) * count,
                )
            }
            None => None,
        };
        Ok(Self {
            dense: dense.iter().map(|&len| Words::bytes_of(gpu, len)).sum::<u64>() + Gpu::buffer_bytes(codes),
            transcoded,
            in_slot: dense.iter().map(|&len| slot_bytes(len)).sum(),
            beside_slot: Gpu::buffer_bytes(codes),
            decoded: Self::decoded(gpu, label, tiles),
        })
    }

    fn decoded(gpu: &Gpu, label: &str, tiles: &Tiles<'_>) -> Option<u64> {
        let (dtype, cols) = (tiles.dtype, tiles.tiled.grid.matrix.cols);
        Format::raw(dtype)?;
        let parts = split_wide(gpu, label, dtype, cols, tiles.row_blocks()).ok()?;
        let block = raw::row_block_bytes(dtype, cols) as u64;
        Some(parts.iter().map(|part| slot_bytes(part.len() as u64 * block)).sum())
    }

    /// The bytes of an uncompressed matrix of `dtype`; `None` for a type that no kernel reads.
    pub fn raw(gpu: &Gpu, label: &str, dtype: Dtype, matrix: Matrix) -> Result<Option<u64>, GpuError> {
        if Format::raw(dtype).is_none() {
            return Ok(None);
        }
        let grid = Grid::for_matrix(matrix);
        let block = raw::row_block_bytes(dtype, matrix.cols) as u64;
        let parts = split_wide(gpu, label, dtype, matrix.cols, 0..grid.row_blocks)?;
        Ok(Some(parts.iter().map(|part| Words::bytes_of(gpu, part.len() as u64 * block)).sum()))
    }
}
