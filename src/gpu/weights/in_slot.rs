//! Weights that will be brought to a slot.

use super::device_matrix::{DeviceMatrix, Part};
use super::layouts::Format;
use super::layouts::raw;
use super::matrix_params::MatrixParams;
use super::parts::{Piece, RowBlocks, lay_out, slot_bytes, split_wide};
use super::slot::SlotPlace;
use super::tiles::Tiles;
use crate::codec::grid::Grid;
use crate::gpu::{Gpu, GpuError};
use crate::tensor::Matrix;

impl DeviceMatrix {
    /// Tiles that will be brought to a slot, and the pieces of the payload to write there. Only the table of
    /// codes is uploaded now.
    pub fn in_slot(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        place: SlotPlace<'_>,
    ) -> Result<(Self, Vec<Piece>), GpuError> {
        let SlotPlace { slot, mut at, stage } = place;
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for part in lay_out(gpu, label, tiles, 0)? {
            let payload = slot.part(at..at + Gpu::buffer_bytes(part.len));
            pieces.extend(part.pieces.into_iter().map(|piece| Piece { at: at + piece.at, ..piece }));
            at += slot_bytes(part.len);
            parts.push(Part { payload, table: None, stage: Some(stage), params: part.params });
        }
        Ok((Self::of_tiles(gpu, label, tiles, parts)?, pieces))
    }

    /// Uncompressed weights that will be decoded into a slot, and the row blocks to write there. `None` for a
    /// type that no kernel reads.
    pub fn decoded_in_slot(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        place: SlotPlace<'_>,
    ) -> Result<Option<(Self, Vec<RowBlocks>)>, GpuError> {
        let Some(format) = Format::raw(tiles.dtype) else { return Ok(None) };
        let SlotPlace { slot, mut at, stage } = place;
        let Matrix { cols, .. } = tiles.tiled.grid.matrix;
        let grid = Grid::for_matrix(tiles.tiled.grid.matrix);
        let block = raw::row_block_bytes(tiles.dtype, cols) as u64;
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for row_blocks in split_wide(gpu, label, tiles.dtype, cols, tiles.row_blocks())? {
            let len = row_blocks.len() as u64 * block;
            let payload = slot.part(at..at + Gpu::buffer_bytes(len));
            let params =
                MatrixParams::untiled(&grid, row_blocks.clone()).moved(format, slot.begins(at), 0, 0);
            parts.push(Part { payload, table: None, stage: Some(stage), params });
            pieces.push(RowBlocks { row_blocks, at, each: block });
            at += slot_bytes(len);
        }
        let matrix = Matrix { rows: tiles.rows(), cols };
        Ok(Some((Self { format, matrix, parts, codes: None, joined: None, grid }, pieces)))
    }
}
