//! The scales of a tensor that will be rounded.

use rayon::prelude::*;

use super::tensor_source::TensorSource;
use crate::codec::payload::grid::{Grid, LANES};
use crate::codec::payload::quotient::scale;
use crate::codec::payload::scaled::Scaled;
use crate::tensor::Dtype;

/// The scales of a matrix of `dtype`, whose blocks are the lanes of `grid`'s tiles; `None` where an element
/// is not finite.
pub(crate) fn scales_of(dtype: Dtype, grid: &Grid, data: &dyn TensorSource) -> Option<Scaled> {
    let width = dtype.bitsize() / 8;
    let row_bytes = width * grid.matrix.cols;
    let of_block = |row_block: usize| {
        let block_bytes = LANES * row_bytes;
        let start = row_block * block_bytes;
        let rows = data.bytes(start..data.size().min(start + block_bytes));
        let mut scales = vec![0; LANES * grid.col_tiles];
        for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
            for (tile, block) in row.chunks(width * grid.tile_cols).enumerate() {
                scales[LANES * tile + lane] = scale(dtype, block)?;
            }
        }
        Some(scales)
    };
    let scales: Option<Vec<Vec<u16>>> = (0..grid.row_blocks).into_par_iter().map(of_block).collect();
    Some(Scaled { dtype, scales: scales?.concat() })
}
