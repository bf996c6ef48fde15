//! How a matrix is divided into tiles, and where a tile's words lie in a raw plane.

use crate::tensor::Matrix;

/// Rows of a tile: one for each lane, so one for each invocation of a workgroup.
pub const LANES: usize = 64;

/// Columns of a chunk: a 2-bit plane then has one word per lane and chunk.
pub const CHUNK: usize = 16;

/// Approximate width of a tile. Wider tiles spend fewer bits on the lane index; narrower ones allow more of
/// them to be decoded in parallel.
const TARGET_COLS: usize = 256;

/// Maximum width of a tile, so that the length of a lane's stream always fits 16 bits.
pub const MAX_TILE_COLS: usize = 1024;

/// Alignment of every section of a payload, and of payloads in the file. Every adapter accepts it as a
/// binding offset.
pub const SECTION_ALIGN: usize = 256;

/// The tiles of a matrix. Tile `(row_block, col_tile)` has index `row_block * col_tiles + col_tile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The matrix that is divided.
    pub matrix: Matrix,
    /// Columns of every tile, except perhaps the last of a row block. A multiple of [`CHUNK`].
    pub tile_cols: usize,
    /// Tiles side by side.
    pub col_tiles: usize,
    /// Number of row blocks.
    pub row_blocks: usize,
    /// Columns, rounded up to whole chunks.
    pub padded_cols: usize,
}

impl Grid {
    /// The grid that the encoder uses. It divides the columns evenly: 384 columns make one tile, and not a
    /// full one and a half-empty one.
    pub fn for_matrix(matrix: Matrix) -> Self {
        let tiles = (matrix.cols / TARGET_COLS).max(1);
        let tile_cols = matrix.cols.div_ceil(tiles).next_multiple_of(CHUNK).max(CHUNK);
        Self::with_tile_cols(matrix, tile_cols)
    }

    /// A grid with tiles of the given width, as read from a checked head.
    pub(crate) fn with_tile_cols(matrix: Matrix, tile_cols: usize) -> Self {
        Self {
            matrix,
            tile_cols,
            col_tiles: matrix.cols.div_ceil(tile_cols),
            row_blocks: matrix.rows.div_ceil(LANES),
            padded_cols: matrix.cols.next_multiple_of(CHUNK),
        }
    }

    /// Columns of the tiles in column `col_tile`.
    pub fn cols_in(&self, col_tile: usize) -> usize {
        self.tile_cols.min(self.matrix.cols - col_tile * self.tile_cols)
    }

    /// Rows of the tiles in row `row_block`: the lanes that have a stream.
    pub fn rows_in(&self, row_block: usize) -> usize {
        LANES.min(self.matrix.rows - row_block * LANES)
    }

    /// Words of one lane in one row block of a plane of `width` bits.
    pub fn lane_words(&self, width: usize) -> usize {
        (self.padded_cols * width).div_ceil(32)
    }

    /// Bytes of one row block of a plane of `width` bits. It is always a multiple of [`SECTION_ALIGN`],
    /// because 64 lanes of 4 bytes are.
    pub fn row_block_bytes(&self, width: usize) -> usize {
        self.lane_words(width) * LANES * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_divided_evenly() {
        let width = |cols| Grid::for_matrix(Matrix { rows: 64, cols }).tile_cols;
        assert_eq!([1, 16, 63, 257, 384, 576, 1536].map(width), [16, 16, 64, 272, 384, 288, 256]);
        for cols in 1..5000 {
            let g = Grid::for_matrix(Matrix { rows: 65, cols });
            assert!(g.tile_cols <= MAX_TILE_COLS && g.tile_cols.is_multiple_of(CHUNK));
            assert_eq!((0..g.col_tiles).map(|t| g.cols_in(t)).sum::<usize>(), cols);
            assert_eq!(g.row_block_bytes(1) % SECTION_ALIGN, 0);
        }
    }
}
