//! Building a head while a payload is written.

use super::checksum::checksum;
use super::code::Code;
use super::delta_head::Contexts;
use super::fixed_part::{CHECKSUM_AT, DELTA, DELTA_ALIGN, FIXED_LEN, MAGIC};
use super::grid::{Grid, SECTION_ALIGN};
use super::groups::group_row_blocks;
use super::row_tables::{RowMask, Shifts};
use super::split::Split;
use super::tiled::TileEntry;
use crate::tensor::Dtype;

/// Version of raw payloads, which have not changed since version 1.
const RAW_VERSION: u16 = 1;

/// A head that is being written.
pub(crate) struct HeadWriter {
    bytes: Vec<u8>,
    /// Its length is a multiple of this.
    align: usize,
}

impl HeadWriter {
    /// The head of a raw payload; other methods change its kind.
    pub fn new(dtype_code: u8, original_len: usize) -> Self {
        let mut bytes = vec![0; FIXED_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&RAW_VERSION.to_le_bytes());
        bytes[6] = dtype_code;
        bytes[32..40].copy_from_slice(&(original_len as u64).to_le_bytes());
        Self { bytes, align: SECTION_ALIGN }
    }

    /// Describes a tensor whose elements all have these bytes.
    pub fn constant(&mut self, element: &[u8]) {
        self.bytes[4..6].copy_from_slice(&2u16.to_le_bytes());
        self.bytes[7] = 2;
        self.bytes[40..42].copy_from_slice(&(element.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(element);
    }

    /// Describes a tiled tensor. Call the methods for the tables next, in their order here.
    pub fn tiled(&mut self, grid: &Grid, split: &Split, code: &Code, shifts: &Shifts) {
        let b = &mut self.bytes;
        // Clean bits of a BF16 exist since version 3.
        let version = if split.dtype == Dtype::BF16 && split.clean_bits > 0 { 3u16 } else { 2 };
        b[4..6].copy_from_slice(&version.to_le_bytes());
        b[7] = 1;
        b[40..44].copy_from_slice(&(grid.matrix.rows as u32).to_le_bytes());
        b[44..48].copy_from_slice(&(grid.matrix.cols as u32).to_le_bytes());
        b[48..50].copy_from_slice(&(grid.tile_cols as u16).to_le_bytes());
        b[50] = split.top_bits;
        b[51] = split.low_bits;
        b[52..54].copy_from_slice(&code.first.to_le_bytes());
        b[54..56].copy_from_slice(&(code.lengths.len() as u16).to_le_bytes());
        b[56..60].copy_from_slice(&(group_row_blocks(grid) as u32).to_le_bytes());
        b[60] = split.clean_bits;
        b[61] = code.escape;
        b[62] = u8::from(!shifts.rows.is_empty());
        b[63] = shifts.unit;
        b.extend(code.lengths.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4));
        b.resize(b.len().next_multiple_of(8), 0);
        b.extend(shifts.rows.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4));
    }

    /// Describes a difference to a base. Call the methods for the row masks and the tile table next.
    pub fn delta(&mut self, grid: &Grid, contexts: &Contexts, base: (&blake3::Hash, usize)) {
        self.align = DELTA_ALIGN;
        let b = &mut self.bytes;
        b[4..6].copy_from_slice(&4u16.to_le_bytes());
        b[7] = DELTA;
        b[40..44].copy_from_slice(&(grid.matrix.rows as u32).to_le_bytes());
        b[44..48].copy_from_slice(&(grid.matrix.cols as u32).to_le_bytes());
        b[48..50].copy_from_slice(&(grid.tile_cols as u16).to_le_bytes());
        b[50] = contexts.top;
        b[56..60].copy_from_slice(&(group_row_blocks(grid) as u32).to_le_bytes());
        b.extend_from_slice(base.0.as_bytes());
        b.extend((base.1 as u64).to_le_bytes());
        b.extend(contexts.to_bytes());
        b.resize(b.len().next_multiple_of(8), 0);
    }

    /// Adds the row masks, if there are sparse planes.
    pub fn masks(&mut self, masks: &[RowMask]) {
        for mask in masks {
            self.bytes.extend(mask.lanes.to_le_bytes());
            self.bytes.extend(u64::from(mask.before).to_le_bytes());
        }
    }

    /// Adds the scales of a rounded tensor.
    pub fn scales(&mut self, scales: &[u16]) {
        self.bytes[4..6].copy_from_slice(&3u16.to_le_bytes());
        self.bytes[7] = 3;
        self.bytes.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
    }

    /// Adds the tile table.
    pub fn tiles(&mut self, tiles: &[TileEntry]) {
        self.bytes.extend(tiles.iter().flat_map(|t| t.to_words()).flat_map(u32::to_le_bytes));
    }

    /// Bytes of the finished head after `checksums` more checksums.
    pub fn padded_len(&self, checksums: usize) -> usize {
        (self.bytes.len() + 8 * checksums).next_multiple_of(self.align)
    }

    /// The finished head for a payload of `payload_len` bytes in total.
    pub fn finish(mut self, checksums: &[u64], payload_len: usize) -> Vec<u8> {
        let len = self.padded_len(checksums.len());
        self.bytes.extend(checksums.iter().flat_map(|c| c.to_le_bytes()));
        self.bytes.resize(len, 0);
        self.bytes[8..16].copy_from_slice(&(payload_len as u64).to_le_bytes());
        self.bytes[16..24].copy_from_slice(&(len as u64).to_le_bytes());
        let sum = checksum(&self.bytes);
        self.bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}
