//! Writing the coded plane.

use std::io;

use rayon::prelude::*;

use super::group::{Group, Planes, Sections};
use super::pieces::{Piece, Sums};
use super::put::Put;
use super::tensor::{Tensor, together};
use crate::codec::payload::grid::SECTION_ALIGN;
use crate::codec::payload::tiled::TileEntry;

/// The coded plane after it has been written.
pub(crate) struct Coded {
    pub tiles: Vec<TileEntry>,
    pub sums: Vec<u64>,
    pub end: usize,
}

impl Coded {
    /// Assigns each of `groups` its offset, in the order of their pieces. The tensor's last group is padded.
    /// `None` if an offset is too far from `start` for the tile table.
    fn place(&mut self, start: usize, pieces: &[Piece], groups: &mut [Group]) -> Option<Vec<usize>> {
        let mut places = Vec::with_capacity(groups.len());
        for (piece, group) in pieces.iter().zip(groups) {
            let word = (self.end - start) / 4;
            for tile in &group.tiles {
                let word = u32::try_from(word + tile.word as usize).ok()?;
                self.tiles.push(TileEntry { word, ..*tile });
            }
            places.push(self.end);
            let mut end = self.end + group.coded.len();
            if piece.is_last {
                end = end.next_multiple_of(SECTION_ALIGN);
                group.coded.resize(end - self.end, 0);
            }
            self.end = end;
        }
        Some(places)
    }
}

impl Tensor<'_> {
    /// Writes the coded plane from offset `start` on. `kept` receives the raw planes of each group if they
    /// are made already.
    pub fn put_coded(
        &self,
        start: usize,
        kept: &mut Vec<Planes>,
        put: &Put<'_>,
    ) -> io::Result<Option<Coded>> {
        let sections = if self.at_once() { Sections::Both } else { Sections::Coded };
        let mut coded = Coded { tiles: Vec::new(), sums: Vec::new(), end: start };
        let mut sums = Sums::default();
        for batch in self.pieces().chunks(together()) {
            let encode = |piece| self.encode(piece, sections);
            let mut groups: Vec<Group> = batch.par_iter().map(encode).collect();
            let Some(places) = coded.place(start, batch, &mut groups) else { return Ok(None) };
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
}
