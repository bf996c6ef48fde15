//! Decoding a part tile by tile, by columns or by lanes, whichever is faster on this processor.

use super::by_columns::{Buffers, LEAST_LANES};
use super::tiles::DecodeTiles;
use crate::codec::payload::error::CodecError;
use crate::codec::simd::{Kernel, Vectors};

impl Kernel for DecodeTiles<'_> {
    type Output = Result<(), CodecError>;

    #[inline(always)]
    fn run<V: Vectors>(mut self, vectors: V) -> Result<(), CodecError> {
        let (tiled, readers) = (self.from.tiled, self.from.readers);
        let by_columns = V::BY_COLUMNS && self.part.lanes.len() >= LEAST_LANES;
        let levels = by_columns.then(|| readers.levels(&tiled.code, tiled.split.symbol_bits())).flatten();
        let mut buffers = levels.map(|_| Buffers::new(&self));
        for col_tile in self.part.col_tiles.clone() {
            let starts = self.lane_starts(self.part.row_block * tiled.grid.col_tiles + col_tile)?;
            if let Some((levels, buffers)) = levels.zip(buffers.as_mut())
                && self.decode_columns(vectors, levels, col_tile, &starts, buffers)?
            {
                continue;
            }
            self.decode_lanes(vectors, col_tile, &starts)?;
        }
        Ok(())
    }
}
