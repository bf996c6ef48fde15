//! A whole payload in memory, and decoding the tensor's bytes from it. Twin of `shaders/decode.wgsl`.

use std::ops::Range;

use rayon::prelude::*;

use super::decode_part::decode_part;
use super::part::{Part, TiledPayload};
use super::readers::Readers;
use super::zeros::zeros;
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::{LANES, MAX_TILE_COLS};
use crate::codec::payload::head::{Head, Kind, Tiled};
use crate::codec::payload::precision::{Kept, Precision};

/// A payload whose head has been checked.
pub struct Payload<'a> {
    bytes: &'a [u8],
    head: Head,
    readers: Readers,
    precision: Precision,
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payload").field("len", &self.bytes.len()).field("head", &self.head).finish()
    }
}

impl<'a> Payload<'a> {
    /// Reads and checks the head. `bytes` must be the whole payload.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let precision = Precision::default();
        Ok(Self { head: Head::parse(bytes)?, bytes, readers: Readers::default(), precision })
    }

    /// The same payload, for a device that reads it in `precision`: bits beyond it are neither checked nor
    /// uploaded. The CPU always decodes all bits.
    pub fn at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The precision that a device reads.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The part of the raw planes that a device reads; `None` if there are none.
    pub fn kept(&self) -> Option<Kept> {
        match &self.head.kind {
            Kind::Tiled(tiled) => Some(tiled.kept(self.precision)),
            _ => None,
        }
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The whole payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Compares every section that is read with its checksums.
    pub fn check(&self) -> Result<(), CodecError> {
        let planes = self.kept().map_or(usize::MAX, |kept| kept.planes);
        self.head.check_groups(self.bytes, 0..self.head.groups(), planes)
    }

    /// Compares those checksums that cover the bytes `range` of the original tensor.
    pub fn check_bytes(&self, range: Range<usize>) -> Result<(), CodecError> {
        self.refuse_beyond(&range)?;
        self.head.check_groups(self.bytes, self.head.groups_of(range), usize::MAX)
    }

    /// Bytes of the original tensor that are best decoded together: a full row block, or a MiB.
    /// [`Payload::decode_bytes`] of ranges that begin at multiples of it decodes nothing twice.
    pub fn band_bytes(&self) -> usize {
        self.head.band_bytes()
    }

    /// The original bytes. A payload of equal elements can stand for many: the result has at most a thousand
    /// times the payload's bytes, or 16 MiB.
    pub fn decode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = zeros(self.head.original_len)?;
        self.decode_into(&mut out)?;
        Ok(out)
    }

    /// Writes the original bytes to `out`, spread over the current rayon pool.
    pub fn decode_into(&self, out: &mut [u8]) -> Result<(), CodecError> {
        let expected = self.head.original_len;
        if out.len() != expected {
            return Err(CodecError::WrongOutput { expected, actual: out.len() });
        }
        self.decode_bytes(0..expected, out)
    }

    /// Writes the bytes `range` of the original tensor to `out`. It reads only the rows of the payload that
    /// contain them.
    pub fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), CodecError> {
        self.refuse_beyond(&range)?;
        if out.len() != range.len() {
            return Err(CodecError::WrongOutput { expected: range.len(), actual: out.len() });
        }
        match &self.head.kind {
            Kind::Raw => {
                let data = &self.bytes[self.head.len + range.start..self.head.len + range.end];
                out.copy_from_slice(data);
                Ok(())
            }
            Kind::Constant(element) => {
                repeat(element, range.start, out);
                Ok(())
            }
            Kind::Tiled(tiled) => self.decode_tiled(tiled, range, out),
        }
    }

    /// The original bytes of some rows of the tensor as a matrix of units; see
    /// [`unit_matrix`](crate::codec::payload::split::unit_matrix). `None` if the tensor is not tiled.
    pub fn decode_rows(&self, rows: Range<usize>) -> Option<Result<Vec<u8>, CodecError>> {
        let Kind::Tiled(tiled) = &self.head.kind else { return None };
        let (start, end, all) = (rows.start, rows.end, tiled.grid.matrix.rows);
        if start > end || end > all {
            return Some(Err(CodecError::NoSuchRows { start, end, rows: all }));
        }
        let decode = || {
            let mut out = zeros(rows.len() * tiled.row_bytes())?;
            self.decode_bytes(start * tiled.row_bytes()..end * tiled.row_bytes(), &mut out)?;
            Ok(out)
        };
        Some(decode())
    }

    fn refuse_beyond(&self, range: &Range<usize>) -> Result<(), CodecError> {
        let len = self.head.original_len;
        if range.start > range.end || range.end > len {
            return Err(CodecError::NoSuchBytes { start: range.start, end: range.end, len });
        }
        Ok(())
    }

    /// Decodes whole rows directly into `out`, by row block. A first or last row that is needed only in part
    /// is decoded into a buffer.
    fn decode_tiled(&self, tiled: &Tiled, range: Range<usize>, out: &mut [u8]) -> Result<(), CodecError> {
        let row_bytes = tiled.row_bytes();
        let first = range.start.div_ceil(row_bytes);
        let end = range.end / row_bytes;
        if first > end {
            return self.decode_part_of_row(tiled, range, out);
        }
        let (head, out) = out.split_at_mut(first * row_bytes - range.start);
        let (whole, tail) = out.split_at_mut((end - first) * row_bytes);
        self.decode_part_of_row(tiled, range.start..first * row_bytes, head)?;
        self.decode_part_of_row(tiled, end * row_bytes..range.end, tail)?;
        // The first piece ends at the end of its row block; the others are whole row blocks.
        let to_block_end = (first.next_multiple_of(LANES).min(end) - first) * row_bytes;
        let (start, blocks) = whole.split_at_mut(to_block_end);
        self.decode_whole_rows(tiled, first, start)?;
        let first_block = first.next_multiple_of(LANES);
        blocks
            .par_chunks_mut(LANES * row_bytes)
            .enumerate()
            .try_for_each(|(i, out)| self.decode_whole_rows(tiled, first_block + LANES * i, out))
    }

    /// Decodes `range`, which lies within one row: only the tiles that it touches.
    fn decode_part_of_row(
        &self,
        tiled: &Tiled,
        range: Range<usize>,
        mut out: &mut [u8],
    ) -> Result<(), CodecError> {
        let tile_bytes = tiled.unit_bytes() * tiled.grid.tile_cols;
        let row = range.start / tiled.row_bytes();
        let mut at = range.start % tiled.row_bytes();
        let mut buffer = [0; 4 * MAX_TILE_COLS];
        while !out.is_empty() {
            let (col_tile, in_tile) = (at / tile_bytes, at % tile_bytes);
            let decoded = &mut buffer[..tiled.unit_bytes() * tiled.grid.cols_in(col_tile)];
            self.run(tiled, row..row + 1, col_tile..col_tile + 1, decoded.len(), decoded)?;
            let (here, rest) = out.split_at_mut(out.len().min(decoded.len() - in_tile));
            here.copy_from_slice(&decoded[in_tile..in_tile + here.len()]);
            at += here.len();
            out = rest;
        }
        Ok(())
    }

    /// Fills `out` with rows of one row block, from row `first` on.
    fn decode_whole_rows(&self, tiled: &Tiled, first: usize, out: &mut [u8]) -> Result<(), CodecError> {
        let rows = first..first + out.len() / tiled.row_bytes();
        self.run(tiled, rows, 0..tiled.grid.col_tiles, tiled.row_bytes(), out)
    }

    /// Decodes `rows` of one row block.
    fn run(
        &self,
        tiled: &Tiled,
        rows: Range<usize>,
        col_tiles: Range<usize>,
        stride: usize,
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        if rows.is_empty() {
            return Ok(());
        }
        let lanes = rows.start % LANES..rows.start % LANES + rows.len();
        let row_block = rows.start / LANES;
        let from = TiledPayload { bytes: self.bytes, tiled, readers: &self.readers };
        decode_part(from, Part { row_block, lanes, col_tiles }, stride, out)
    }
}

/// Fills `out` with the bytes of a tensor of equal elements, starting at its byte `start`.
pub(crate) fn repeat(element: &[u8], start: usize, out: &mut [u8]) {
    let mut element = element.to_vec();
    let turn = start % element.len();
    element.rotate_left(turn);
    out.chunks_mut(element.len()).for_each(|out| out.copy_from_slice(&element[..out.len()]));
}
