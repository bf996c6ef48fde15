//! Decoding a tensor row block by row block into reused memory.

use std::ops::Range;

use super::{ArchiveError, TensorReader};
use crate::codec::head::{Kind, Tiled};
use crate::codec::{Kept, Precision, resize};

/// Memory for a row block: the bytes read from the file, and the decoded rows. It grows to the largest row
/// block that it is used for.
#[derive(Debug, Default)]
pub struct RowBlock {
    read: Vec<u8>,
    rows: Vec<u8>,
}

impl TensorReader {
    /// Bytes of the file that decoding row blocks at `precision` reads; 0 for a tensor that is not in tiles.
    pub fn row_blocks_len(&self, row_blocks: Range<usize>, precision: Precision) -> u64 {
        let Some((tiled, kept)) = self.tiles(precision) else { return 0 };
        let planes = (0..kept.planes).map(|plane| tiled.plane_of(plane, row_blocks.clone()).len() as u64);
        tiled.coded_of(row_blocks.clone()).len() as u64 + planes.sum::<u64>()
    }

    /// The rows of a row block at `precision`: whole rows of the original, end to end. It does not read
    /// planes beyond that precision. It returns no rows for a tensor that is not in tiles, or if there is no
    /// such row block. It does not [check](Self::check) them: if the file may have been written to since,
    /// call [`require_unchanged`](Self::require_unchanged) afterwards.
    pub fn read_row_block<'b>(
        &self,
        row_block: usize,
        precision: Precision,
        memory: &'b mut RowBlock,
    ) -> Result<&'b [u8], ArchiveError> {
        let (Some(decoder), Some((tiled, kept))) = (&self.payload, self.tiles(precision)) else {
            return Ok(&[]);
        };
        let ranges = decoder.ranges(row_block);
        if ranges.is_empty() {
            return Ok(&[]);
        }
        let RowBlock { read, rows } = memory;
        self.read_first_ranges(&ranges, 1 + kept.planes, read)?;
        let lanes = 0..tiled.grid.rows_in(row_block);
        let len = lanes.len() * tiled.row_bytes();
        // The buffer never shrinks, because growing it again would write zeros.
        if rows.len() < len {
            resize(rows, len).map_err(|error| self.not_decoded(error))?;
        }
        let rows = &mut rows[..len];
        let decoded = decoder.decode(row_block, lanes, read, rows);
        decoded.map_err(|error| self.not_decoded(error))?;
        kept.of_units(&tiled.split, rows);
        Ok(rows)
    }

    fn tiles(&self, precision: Precision) -> Option<(&Tiled, Kept)> {
        match &self.head()?.kind {
            Kind::Tiled(tiled) => Some((tiled, tiled.kept(precision))),
            _ => None,
        }
    }
}
