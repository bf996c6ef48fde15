//! What adding a model would do.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::add::AddOptions;
use super::bases::Bases;
use super::error::StoreError;
use super::manifest::PieceId;
use super::piece::parts;
use super::sketch::Sketch;
use super::source::{BLOB, Opened, OpenedTensor, bytes_of_files, files_of, read_blob};
use super::store::Store;
use crate::archive::{Progress, reported};
use crate::tensor::Dtype;

/// Bytes of a piece, its first rows, that are encoded to predict how large its payload will be.
const SAMPLE: usize = 1 << 20;

/// Rows of a sample are a multiple of this, as long as there are so many: a payload has rows in blocks of 64.
const ROWS: usize = 64;

/// What adding a model would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// Bytes of its files.
    pub original_bytes: u64,
    /// Bytes of these that the store has.
    pub there_bytes: u64,
    /// Bytes of payloads that would be written, predicted from a part of each piece.
    pub stored_bytes: u64,
    /// The model to which tensors would be compared: its manifest.
    pub base: Option<String>,
}

/// A piece that the store does not have: a sample of it, and what it would be compared to.
struct Sampled {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
    /// Bytes of the whole piece.
    bytes: usize,
    base: Option<PieceId>,
}

impl Store {
    /// Says what adding a model folder or a file would do, from all of its bytes, and from payloads of a part of them.
    /// Nothing is written.
    pub fn plan(
        &self,
        source: &Path,
        options: &AddOptions,
        progress: &dyn Progress,
    ) -> Result<Planned, StoreError> {
        let files = files_of(source)?;
        reported(progress, bytes_of_files(&files), "reading", || {
            let opened = files.iter().map(Opened::open).collect::<Result<Vec<_>, _>>()?;
            let base = self.base_of(&opened, options)?;
            let bases = base.as_ref().map(|(_, manifest)| Bases::of(manifest)).unwrap_or_default();
            let planned = Planned { base: base.map(|(name, _)| name), ..Planned::default() };
            let mut planning = Planning { store: self, bases, progress, seen: HashSet::new(), planned };
            for file in &opened {
                planning.file(file)?;
            }
            Ok(planning.planned)
        })
    }
}

/// What is needed while files are read.
struct Planning<'a> {
    store: &'a Store,
    bases: Bases,
    progress: &'a dyn Progress,
    /// Pieces that this model has had already.
    seen: HashSet<blake3::Hash>,
    planned: Planned,
}

impl Planning<'_> {
    fn file(&mut self, opened: &Opened) -> Result<(), StoreError> {
        let Some(source) = &opened.tensors else {
            return read_blob(&opened.file.path, |piece| self.bytes(piece));
        };
        for piece in opened.outside()?.chunks(BLOB) {
            self.bytes(piece)?;
        }
        for (tensor, weight) in opened.tensors().zip(source.weights()) {
            self.tensor(&tensor, &weight.reader()?.read_all()?)?;
        }
        Ok(())
    }

    fn bytes(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let sampled = self.piece(Dtype::U8, vec![piece.len()], piece, None)?;
        self.encode(sampled.into_iter().collect())
    }

    fn tensor(&mut self, tensor: &OpenedTensor, data: &[u8]) -> Result<(), StoreError> {
        let sketch = Sketch::of(tensor.dtype, data);
        let base = self.bases.of_tensor(tensor.name, tensor.dtype, tensor.shape, sketch.as_ref());
        let base = base.map(<[_]>::to_vec).unwrap_or_default();
        let mut sampled = Vec::new();
        for (i, part) in parts(tensor.dtype, tensor.shape, data.len()).into_iter().enumerate() {
            sampled.extend(self.piece(tensor.dtype, part.shape, &data[part.bytes], base.get(i).cloned())?);
        }
        self.encode(sampled)
    }

    /// Counts a piece. A sample of it, unless the store has it.
    fn piece(
        &mut self,
        dtype: Dtype,
        shape: Vec<usize>,
        data: &[u8],
        base: Option<PieceId>,
    ) -> Result<Option<Sampled>, StoreError> {
        if self.progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        self.progress.advance(data.len() as u64);
        self.planned.original_bytes += data.len() as u64;
        let hash = blake3::hash(data);
        if self.store.index.place(&hash).is_some() || !self.seen.insert(hash) {
            self.planned.there_bytes += data.len() as u64;
            return Ok(None);
        }
        let (shape, bytes) = sample(dtype, shape, data.len());
        Ok(Some(Sampled { dtype, shape, data: data[..bytes].to_vec(), bytes: data.len(), base }))
    }

    /// Counts what payloads would take.
    fn encode(&mut self, sampled: Vec<Sampled>) -> Result<(), StoreError> {
        let store = self.store;
        let predicted = sampled.par_iter().map(|sampled| predict(store, sampled));
        self.planned.stored_bytes += predicted.try_reduce(|| 0, |a, b| Ok(a + b))?;
        Ok(())
    }
}

/// The shape and the bytes of the first rows of a piece.
fn sample(dtype: Dtype, shape: Vec<usize>, len: usize) -> (Vec<usize>, usize) {
    let Some((&rows, inner)) = shape.split_first() else { return (shape, len) };
    if rows == 0 || !len.is_multiple_of(rows) || dtype.bitsize() < 8 {
        return (shape, len);
    }
    let row_bytes = len / rows;
    let count = (SAMPLE / row_bytes.max(1)).max(1).next_multiple_of(ROWS).min(rows);
    ([&[count], inner].concat(), count * row_bytes)
}

/// Bytes of the payload of a piece, as its sample has them.
fn predict(store: &Store, sampled: &Sampled) -> Result<u64, StoreError> {
    let Sampled { dtype, shape, data, bytes, base } = sampled;
    let base = base.as_ref().map(|base| store.alone(base)).transpose()?.flatten();
    let base = base.as_ref().map(|(bytes, hash)| (&bytes[..data.len().min(bytes.len())], *hash));
    let coded = store.encode((*dtype, shape), &blake3::hash(data), data, base)?;
    let share = coded.payload.len() as u128 * *bytes as u128 / data.len().max(1) as u128;
    Ok(share as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_whole_rows_of_about_a_mebibyte() {
        for (shape, len, wanted) in [
            (vec![10_000, 1024], 20_480_000, (vec![512, 1024], 1 << 20)),
            (vec![100, 1024], 204_800, (vec![100, 1024], 204_800)),
            (vec![200, 1 << 20], 200 << 21, (vec![64, 1 << 20], 64 << 21)),
            (vec![0, 7], 0, (vec![0, 7], 0)),
            (vec![], 2, (vec![], 2)),
        ] {
            assert_eq!(sample(Dtype::BF16, shape, len), wanted);
        }
    }
}
