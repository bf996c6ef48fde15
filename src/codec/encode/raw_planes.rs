//! Writing the raw planes.

use std::io;

use rayon::prelude::*;

use super::group::{Planes, Sections};
use super::pieces::{Piece, Sums};
use super::put::Put;
use super::tensor::{Tensor, together};

impl Tensor<'_> {
    /// Writes the raw planes and returns their checksums, plane after plane. `kept` has the planes of all
    /// groups; otherwise they are made now.
    pub fn put_planes(
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
                false => self.make_planes(batch),
            };
            let places = places(batch, &mut made, &mut next, ends);
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

    /// Makes the raw planes of `pieces`.
    fn make_planes(&self, pieces: &[Piece]) -> Vec<Planes> {
        let make = |piece| {
            let mut group = self.encode(piece, Sections::Planes);
            let planes = std::mem::take(&mut group.planes);
            self.spare.give(group);
            planes
        };
        pieces.par_iter().map(make).collect()
    }
}

/// Assigns offsets to the planes `made` of `pieces`: each goes to the offset in `next` for its plane, which
/// then advances. The planes of the tensor's last piece are padded up to `ends`.
fn places(pieces: &[Piece], made: &mut [Planes], next: &mut [usize], ends: &[usize]) -> Vec<usize> {
    let mut places = Vec::new();
    for (piece, planes) in pieces.iter().zip(made) {
        for ((words, next), &end) in planes.iter_mut().zip(&mut *next).zip(ends) {
            if piece.is_last {
                words.resize((end - *next) / 4, 0);
            }
            places.push(*next);
            *next += 4 * words.len();
        }
    }
    places
}
