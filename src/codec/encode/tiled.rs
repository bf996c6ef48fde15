//! Encoding a matrix in tiles.

use std::io;
use std::ops::Range;

use rayon::prelude::*;

use super::coder::Coder;
use super::error::EncodeError;
use super::group::{EncodeGroup, Group, Planes, Sections};
use super::pieces::{Piece, Sums};
use super::put::{EncodedPayload, Put, put_head};
use super::spare::{KEPT_GROUPS, Spare};
use crate::codec::payload::grid::SECTION_ALIGN;
use crate::codec::payload::groups::group_row_blocks;
use crate::codec::payload::head_writer::HeadWriter;
use crate::codec::payload::tiled::{TileEntry, plane_bytes};
use crate::codec::plan::choosing::Plan;
use crate::codec::plan::source_rows::SourceRows;
use crate::codec::simd;
use crate::tensor::Matrix;

/// Raw planes of up to so many bytes are kept until they can be put.
const KEPT_BYTES: usize = 16 << 20;

/// Units of a piece of a row block that is too long to be encoded in one go, about.
const PIECE_UNITS: usize = 4 << 20;

/// Pieces that are encoded together: few, so that they are put while they are in the cache, and the next
/// ones are made in the same memory.
fn together() -> usize {
    2 * rayon::current_num_threads()
}

/// `None` where the payload would not be shorter than `limit`, or the coded plane is too long for
/// the tile table's 32-bit word offsets.
pub(crate) fn encode_tiled(
    spare: &Spare,
    code: u8,
    matrix: Matrix,
    plan: Plan,
    source: &SourceRows,
    limit: usize,
    put: &Put<'_>,
) -> Result<Option<EncodedPayload>, EncodeError> {
    let tensor = Tensor { spare, code, source, coder: Coder::new(matrix, &plan, source) };
    // As of a matrix of one row, which has planes for 64.
    if tensor.plane_ends(0).last().is_some_and(|&end| end >= limit) {
        return Ok(None);
    }
    let head_len = tensor.head_len(&plan);
    let mut kept = Vec::new();
    let Some(coded) = tensor.put_coded(head_len, &mut kept, put)? else { return Ok(None) };
    let plane_ends = tensor.plane_ends(coded.end);
    let payload_len = plane_ends.last().copied().unwrap_or(coded.end);
    if payload_len >= limit {
        return Ok(None);
    }
    let mut sums = coded.sums;
    sums.extend(tensor.put_planes(coded.end, &plane_ends, kept, put)?);
    let mut writer = tensor.head(&plan);
    writer.masks(&tensor.coder.masks);
    if let Some(rounding) = source.rounding() {
        writer.scales(&rounding.scaled.scales);
    }
    writer.tiles(&coded.tiles);
    put_head(writer, &sums, payload_len, put).map(Some)
}

/// A tensor that is being encoded.
struct Tensor<'a> {
    spare: &'a Spare,
    code: u8,
    source: &'a SourceRows<'a>,
    coder: Coder,
}

/// The coded plane, once it is written.
struct Coded {
    tiles: Vec<TileEntry>,
    sums: Vec<u64>,
    end: usize,
}

impl Tensor<'_> {
    /// The head up to where row masks and tile table go.
    fn head(&self, plan: &Plan) -> HeadWriter {
        let mut writer = HeadWriter::new(self.code, self.source.original_len());
        writer.tiled(&self.coder.grid, &self.coder.split, &plan.code, &self.coder.shifts);
        writer
    }

    fn head_len(&self, plan: &Plan) -> usize {
        let grid = &self.coder.grid;
        let sums = self.groups() * (1 + self.coder.split.planes().len());
        // In numbers of 8 bytes: a tile is one, a row mask two, and four scales one.
        let scales = self.source.rounding().map_or(0, |rounding| rounding.scaled.scales.len() / 4);
        let tiles = grid.row_blocks * grid.col_tiles;
        self.head(plan).padded_len(tiles + 2 * self.coder.masks.len() + scales + sums)
    }

    /// Whether the planes are made together with the coded plane, and kept until its length is known. Of
    /// larger tensors they are made in a second pass.
    fn at_once(&self) -> bool {
        self.groups() <= KEPT_GROUPS && self.plane_ends(0).last().is_none_or(|&end| end <= KEPT_BYTES)
    }

    fn groups(&self) -> usize {
        self.coder.grid.row_blocks.div_ceil(group_row_blocks(&self.coder.grid))
    }

    /// All groups, in pieces.
    fn pieces(&self) -> Vec<Piece> {
        let grid = &self.coder.grid;
        let many = group_row_blocks(grid);
        let mut pieces = Vec::new();
        for group in 0..self.groups() {
            let row_blocks = group * many..((group + 1) * many).min(grid.row_blocks);
            let is_last = group + 1 == self.groups();
            for col_tiles in self.col_tiles(&row_blocks) {
                let ends = col_tiles.end == grid.col_tiles;
                let is_whole = col_tiles.len() == grid.col_tiles;
                let (row_blocks, is_last) = (row_blocks.clone(), is_last && ends);
                pieces.push(Piece { row_blocks, col_tiles, is_whole, ends_group: ends, is_last });
            }
        }
        pieces
    }

    /// Which tiles of `row_blocks`, a group, are encoded in one go: an even number of them, so that they begin with a
    /// whole word of every plane. Quotients are made row block by row block in any case.
    fn col_tiles(&self, row_blocks: &Range<usize>) -> Vec<Range<usize>> {
        let grid = &self.coder.grid;
        let most = PIECE_UNITS / (grid.rows_in(row_blocks.start) * grid.tile_cols) / 2 * 2;
        let most =
            if row_blocks.len() > 1 || self.source.rounding().is_some() { usize::MAX } else { most.max(2) };
        let starts = (0..grid.col_tiles).step_by(most);
        starts.map(|start| start..start.saturating_add(most).min(grid.col_tiles)).collect()
    }

    fn encode(&self, piece: &Piece, sections: Sections) -> Group {
        let Piece { row_blocks, col_tiles, .. } = piece.clone();
        let rows = self.source.row_blocks(row_blocks.clone());
        let (coder, rows, group) = (&self.coder, &rows[..], self.spare.take());
        simd::run(EncodeGroup { coder, row_blocks, col_tiles, rows, sections, group })
    }

    /// Writes the coded plane from `start` on. `kept` receives the raw planes of each group, if they are
    /// made already.
    fn put_coded(&self, start: usize, kept: &mut Vec<Planes>, put: &Put<'_>) -> io::Result<Option<Coded>> {
        let sections = if self.at_once() { Sections::Both } else { Sections::Coded };
        let mut coded = Coded { tiles: Vec::new(), sums: Vec::new(), end: start };
        let mut sums = Sums::default();
        for batch in self.pieces().chunks(together()) {
            let encode = |piece| self.encode(piece, sections);
            let mut groups: Vec<Group> = batch.par_iter().map(encode).collect();
            let mut places = Vec::new();
            for (piece, group) in batch.iter().zip(&mut groups) {
                let word = (coded.end - start) / 4;
                for tile in &group.tiles {
                    let Ok(word) = u32::try_from(word + tile.word as usize) else { return Ok(None) };
                    coded.tiles.push(TileEntry { word, ..*tile });
                }
                places.push(coded.end);
                let mut end = coded.end + group.coded.len();
                if piece.is_last {
                    end = end.next_multiple_of(SECTION_ALIGN);
                    group.coded.resize(end - coded.end, 0);
                }
                coded.end = end;
            }
            let written = groups.par_iter().zip(batch).zip(places).map(|((group, piece), at)| {
                put(at, &group.coded)?;
                Ok(piece.checksum(&group.coded))
            });
            let written = written.collect::<io::Result<Vec<_>>>()?;
            for ((mut group, piece), whole) in groups.into_iter().zip(batch).zip(written) {
                sums.add(piece, whole, &group.coded);
                if sections == Sections::Both {
                    kept.push(std::mem::take(&mut group.planes));
                }
                self.spare.give(group);
            }
        }
        coded.sums = sums.done;
        Ok(Some(coded))
    }

    /// Where each raw plane ends, if the first begins at `start`.
    fn plane_ends(&self, start: usize) -> Vec<usize> {
        let mut end = start;
        let ends = self.coder.split.planes().iter().map(|plane| {
            let bytes = plane_bytes(plane, &self.coder.grid, &self.coder.masks);
            end += bytes.expect("planes are no larger than the tensor");
            end
        });
        ends.collect()
    }

    /// Writes the raw planes and returns their checksums, plane after plane. `kept` has those of all
    /// groups, or they are made now.
    fn put_planes(
        &self,
        start: usize,
        ends: &[usize],
        mut kept: Vec<Planes>,
        put: &Put<'_>,
    ) -> io::Result<Vec<u64>> {
        let mut next: Vec<usize> =
            std::iter::once(start).chain(ends.iter().copied()).take(ends.len()).collect();
        let mut sums: Vec<Sums> = ends.iter().map(|_| Sums::default()).collect();
        for batch in self.pieces().chunks(together()) {
            let mut made: Vec<Planes> = match self.at_once() {
                true => kept.drain(..batch.len()).collect(),
                false => {
                    let encode = |piece| {
                        let mut group = self.encode(piece, Sections::Planes);
                        let planes = std::mem::take(&mut group.planes);
                        self.spare.give(group);
                        planes
                    };
                    batch.par_iter().map(encode).collect()
                }
            };
            let mut places = Vec::new();
            for (piece, planes) in batch.iter().zip(&mut made) {
                for ((words, next), &end) in planes.iter_mut().zip(&mut next).zip(ends) {
                    if piece.is_last {
                        words.resize((end - *next) / 4, 0);
                    }
                    places.push(*next);
                    *next += 4 * words.len();
                }
            }
            let parts =
                batch.iter().zip(&made).flat_map(|(piece, planes)| planes.iter().map(move |p| (piece, p)));
            let parts: Vec<(&Piece, &[u8])> =
                parts.map(|(piece, p)| (piece, bytemuck::cast_slice(p))).collect();
            let written = parts.par_iter().zip(places).map(|(&(piece, bytes), at)| {
                put(at, bytes)?;
                Ok(piece.checksum(bytes))
            });
            let written = written.collect::<io::Result<Vec<_>>>()?;
            for (i, (&(piece, bytes), whole)) in parts.iter().zip(written).enumerate() {
                sums[i % ends.len()].add(piece, whole, bytes);
            }
            made.into_iter().for_each(|planes| self.spare.give_planes(planes));
        }
        Ok(sums.into_iter().flat_map(|sums| sums.done).collect())
    }
}
