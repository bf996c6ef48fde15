//! Any byte range of a tensor, decoded from data that is read from its file by position.

use std::ops::Range;

use super::tensor_reader::PIECE;
use super::{ArchiveError, TensorReader};
use crate::codec::grid::LANES;
use crate::codec::head::{Head, Kind, Tiled};
use crate::codec::{Checksum, CodecError, RowDecoder, repeat, resize};

/// A larger row block is not read as a whole. Its rows have at least a million elements.
const LARGEST_ROW_BLOCK: usize = 64 << 20;

/// Bytes of the original that are decoded at a time from such a row block.
const FEW_TILES: usize = 1 << 20;

impl TensorReader {
    /// Bytes of the original that are best decoded together; see [`Head::band_bytes`].
    pub(super) fn band_bytes(&self) -> usize {
        self.head().map_or(PIECE, Head::band_bytes)
    }

    /// Compares the checksums that cover the bytes `range` of the original. A plain tensor has none.
    pub(super) fn check_bytes(&self, range: Range<usize>) -> Result<(), ArchiveError> {
        self.refuse_beyond(&range)?;
        self.head().map_or(Ok(()), |head| self.check_groups(head, head.groups_of(range), usize::MAX))
    }

    /// Compares the checksum of every section of `groups`, except planes from index `planes` on.
    pub(super) fn check_groups(
        &self,
        head: &Head,
        groups: Range<usize>,
        planes: usize,
    ) -> Result<(), ArchiveError> {
        self.check_groups_while(head, groups, planes, &|| Ok(()))
    }

    /// Like [`check_groups`](Self::check_groups), but calls `go_on` before every megabyte and stops at its
    /// error.
    pub(super) fn check_groups_while(
        &self,
        head: &Head,
        groups: Range<usize>,
        planes: usize,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut piece = vec![0; PIECE];
        for run in head.checked(groups, planes) {
            let mut sum = Checksum::default();
            for start in run.bytes.clone().step_by(PIECE) {
                go_on()?;
                let piece = &mut piece[..(run.bytes.end - start).min(PIECE)];
                self.read(start, piece)?;
                sum.add(piece);
            }
            head.compare(&run, sum.finish()).map_err(|error| self.wrong(error))?;
        }
        Ok(())
    }

    /// Decodes the bytes `range` of the original into `out`, which has the same length. It reads only the row
    /// blocks that contain them, and does not [check](Self::check_bytes) anything.
    pub(super) fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), ArchiveError> {
        self.refuse_beyond(&range)?;
        let Some(decoder) = &self.payload else { return self.read(range.start, out) };
        match &decoder.head().kind {
            Kind::Raw => self.read(decoder.head().len + range.start, out),
            Kind::Constant(element) => {
                repeat(element, range.start, out);
                Ok(())
            }
            Kind::Tiled(tiled) => match tiled.row_block_bytes() <= LARGEST_ROW_BLOCK {
                true => self.decode_rows_of(decoder, tiled, range, out),
                false => self.decode_tiles_of(decoder, tiled, range, out, FEW_TILES),
            },
        }
    }

    /// Decodes row block by row block: whole rows directly into `out`, partial rows at the ends through a
    /// buffer.
    fn decode_rows_of(
        &self,
        decoder: &RowDecoder,
        tiled: &Tiled,
        range: Range<usize>,
        mut out: &mut [u8],
    ) -> Result<(), ArchiveError> {
        let (row_bytes, block_bytes) = (tiled.row_bytes(), tiled.row_block_bytes());
        let (mut read, mut rows) = (Vec::new(), Vec::new());
        let mut at = range.start;
        while at < range.end {
            let row_block = at / block_bytes;
            let first = row_block * block_bytes;
            let here = at - first..range.end.min(first + block_bytes) - first;
            let (bytes, rest) = out.split_at_mut(here.len());
            let lanes = here.start / row_bytes..here.end.div_ceil(row_bytes);
            let whole = lanes.start * row_bytes..lanes.end * row_bytes;
            self.read_ranges(&decoder.ranges(row_block), &mut read)?;
            if whole == here {
                let decoded = decoder.decode(row_block, lanes, &read, bytes);
                decoded.map_err(|error| self.not_decoded(error))?;
            } else {
                resize(&mut rows, whole.len()).map_err(|error| self.wrong(error))?;
                let decoded = decoder.decode(row_block, lanes, &read, &mut rows);
                decoded.map_err(|error| self.not_decoded(error))?;
                bytes.copy_from_slice(&rows[here.start - whole.start..here.end - whole.start]);
            }
            at = first + here.end;
            out = rest;
        }
        Ok(())
    }

    /// Decodes row block by row block, and each a few tiles at a time: tiles of about `most` bytes of the
    /// original are in memory, however long the rows are.
    fn decode_tiles_of(
        &self,
        decoder: &RowDecoder,
        tiled: &Tiled,
        range: Range<usize>,
        out: &mut [u8],
        most: usize,
    ) -> Result<(), ArchiveError> {
        let (row_bytes, tile_bytes) = (tiled.row_bytes(), tiled.grid.tile_cols * tiled.unit_bytes());
        // The number of tiles is even, so that two steps never share a word of a raw plane.
        let step = tile_bytes * (most / LANES / tile_bytes / 2 * 2).max(2);
        let rows = range.start / row_bytes..range.end.div_ceil(row_bytes);
        let (mut read, mut decoded) = (Vec::new(), Vec::new());
        for row_block in rows.start / LANES..rows.end.div_ceil(LANES) {
            let first_row = row_block * LANES;
            let lanes = rows.start.max(first_row) - first_row..rows.end.min(first_row + LANES) - first_row;
            for start in (0..row_bytes).step_by(step) {
                let end = (start + step).min(row_bytes);
                // Where each lane's piece lies in the range, and which part of it is needed.
                let wanted = lanes.clone().enumerate().filter_map(|(i, lane)| {
                    let from = (first_row + lane) * row_bytes;
                    let (at, until) = ((from + start).max(range.start), (from + end).min(range.end));
                    (at < until).then(|| {
                        (i * (end - start) + at - from - start, at - range.start..until - range.start)
                    })
                });
                let wanted: Vec<_> = wanted.collect();
                if wanted.is_empty() {
                    continue;
                }
                let col_tiles = start / tile_bytes..end.div_ceil(tile_bytes);
                self.read_ranges(&decoder.tile_ranges(row_block, &col_tiles), &mut read)?;
                resize(&mut decoded, lanes.len() * (end - start)).map_err(|error| self.wrong(error))?;
                let done = decoder.decode_tiles(row_block, lanes.clone(), col_tiles, &read, &mut decoded);
                done.map_err(|error| self.not_decoded(error))?;
                for (from, to) in wanted {
                    out[to.clone()].copy_from_slice(&decoded[from..][..to.len()]);
                }
            }
        }
        Ok(())
    }

    fn refuse_beyond(&self, range: &Range<usize>) -> Result<(), ArchiveError> {
        let len = self.original_len;
        match range.start <= range.end && range.end <= len {
            true => Ok(()),
            false => Err(self.wrong(CodecError::NoSuchBytes { start: range.start, end: range.end, len })),
        }
    }

    fn wrong(&self, error: CodecError) -> ArchiveError {
        ArchiveError::tensor(self.file().path(), self.name())(error)
    }
}
