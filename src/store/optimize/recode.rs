//! Storing pieces in another way than they are.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::archive::{Progress, reported};
use crate::store::bases::Bases;
use crate::store::error::StoreError;
use crate::store::index::{self, Place};
use crate::store::manifest::{Manifest, PieceId};
use crate::store::pack::PacksWriter;
use crate::store::piece::{Coded, encode_piece, parts};
use crate::store::store::Store;
use crate::store::survey::Survey;
use crate::tensor::Dtype;

/// Bytes of pieces that are encoded together.
const TOGETHER: u64 = 64 << 20;

/// A piece, and what it is to be the difference to.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    dtype: Dtype,
    shape: Vec<usize>,
    id: PieceId,
    pub base: blake3::Hash,
    /// The base's piece.
    base_id: PieceId,
    base_shape: Vec<usize>,
    /// Whether the store is to be changed for it.
    is_new: bool,
}

/// Adds the pieces of a family's members that are to be differences to those of other members.
pub(super) fn want(
    wanted: &mut HashMap<blake3::Hash, Wanted>,
    manifests: &[&Manifest],
    bases: &[usize],
    is_new: bool,
) -> Result<(), StoreError> {
    for (member, &base) in bases.iter().enumerate().filter(|(member, base)| member != *base) {
        let tensors: HashMap<&str, _> = manifests[base]
            .tensors()
            .flat_map(|tensor| {
                let shapes = shapes_of(tensor.dtype, &tensor.shape, &tensor.pieces);
                tensor.pieces.iter().map(|piece| &piece.blake3[..]).zip(shapes)
            })
            .collect();
        let of_base = Bases::of(manifests[base]);
        for tensor in manifests[member].tensors() {
            let sketch = tensor.sketch.as_ref();
            let pieces =
                of_base.of_tensor(&tensor.name, tensor.dtype, &tensor.shape, sketch).unwrap_or_default();
            let shapes = shapes_of(tensor.dtype, &tensor.shape, &tensor.pieces);
            for ((id, base_id), shape) in tensor.pieces.iter().zip(pieces).zip(shapes) {
                if id == base_id {
                    continue;
                }
                let Some(base_shape) = tensors.get(&base_id.blake3[..]).cloned() else { continue };
                let (id, base_id, dtype) = (id.clone(), base_id.clone(), tensor.dtype);
                let new = Wanted { dtype, shape, base: base_id.hash()?, id, base_id, base_shape, is_new };
                wanted.entry(new.id.hash()?).or_insert(new);
            }
        }
    }
    Ok(())
}

/// The shapes of a tensor's pieces.
fn shapes_of(dtype: Dtype, shape: &[usize], pieces: &[PieceId]) -> Vec<Vec<usize>> {
    let len = pieces.iter().map(|piece| piece.bytes as usize).sum();
    parts(dtype, shape, len).into_iter().map(|part| part.shape).collect()
}

/// Writes pieces as differences where that is shorter than all that the store has of them, and alone what is their base and
/// is stored as a difference only. Gives the number of pieces written.
pub(super) fn recode(
    store: &Store,
    survey: &Survey,
    wanted: &HashMap<blake3::Hash, Wanted>,
    progress: &dyn Progress,
) -> Result<usize, StoreError> {
    let mut all: Vec<(&blake3::Hash, &Wanted)> = wanted.iter().filter(|(_, wanted)| wanted.is_new).collect();
    // Bases are read once after the other.
    all.sort_by_key(|(hash, wanted)| (*wanted.base.as_bytes(), *hash.as_bytes()));
    let bytes = all.iter().fold(0u64, |sum, (_, wanted)| sum.saturating_add(wanted.id.bytes));
    let mut recoding =
        Recoding { store, survey, packs: PacksWriter::default(), bases: HashSet::new(), written: 0 };
    reported(progress, bytes, "coding", || {
        let (mut jobs, mut job_bytes) = (Vec::new(), 0);
        for (hash, wanted) in all {
            jobs.push((hash, wanted));
            job_bytes += wanted.id.bytes;
            if job_bytes >= TOGETHER {
                recoding.encode(&std::mem::take(&mut jobs), progress)?;
                job_bytes = 0;
            }
        }
        recoding.encode(&jobs, progress)
    })?;
    let Recoding { packs, written, .. } = recoding;
    let packs = packs.finish(&store.folder)?;
    if !packs.is_empty() {
        index::write_run(&store.folder, &packs)?;
    }
    Ok(written)
}

/// What is needed while pieces are written.
struct Recoding<'a> {
    store: &'a Store,
    survey: &'a Survey,
    packs: PacksWriter,
    /// Bases that were looked after.
    bases: HashSet<blake3::Hash>,
    written: usize,
}

impl Recoding<'_> {
    fn encode(
        &mut self,
        jobs: &[(&blake3::Hash, &Wanted)],
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        if progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        let (store, survey) = (self.store, self.survey);
        let coded = jobs.par_iter().map(|(hash, wanted)| difference(store, survey, hash, wanted));
        let coded: Vec<Option<Vec<u8>>> = coded.collect::<Result<_, StoreError>>()?;
        for ((hash, wanted), payload) in jobs.iter().zip(coded) {
            progress.advance(wanted.id.bytes);
            let Some(payload) = payload else { continue };
            if self.bases.insert(wanted.base) && !store.index.is_alone(&wanted.base) {
                let data = store.read_piece(&wanted.base_id)?;
                let alone = encoded(store, (wanted.dtype, &wanted.base_shape), &wanted.base, &data, None)?;
                self.write(&wanted.base, data.len(), &alone.payload, None)?;
            }
            self.write(hash, wanted.id.bytes as usize, &payload, Some(wanted.base))?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        hash: &blake3::Hash,
        bytes: usize,
        payload: &[u8],
        base: Option<blake3::Hash>,
    ) -> Result<(), StoreError> {
        self.written += 1;
        self.packs.add(&self.store.folder, *hash, bytes, payload, base)
    }
}

/// A piece's payload as the wanted difference; `None` if it is one, or if that is not shorter.
fn difference(
    store: &Store,
    survey: &Survey,
    hash: &blake3::Hash,
    wanted: &Wanted,
) -> Result<Option<Vec<u8>>, StoreError> {
    let is_there = survey.kept_copies(hash).any(|place| place.base == Some(wanted.base));
    let shortest = survey.kept_copies(hash).map(|place| place.length).min();
    let Some(shortest) = shortest.filter(|_| !is_there) else { return Ok(None) };
    let (data, base) = (store.read_piece(&wanted.id)?, store.read_piece(&wanted.base_id)?);
    let coded = encoded(store, (wanted.dtype, &wanted.shape), hash, &data, Some((&base, wanted.base)))?;
    let is_shorter = coded.base.is_some() && (coded.payload.len() as u64) < shortest;
    Ok(is_shorter.then_some(coded.payload))
}

fn encoded(
    store: &Store,
    (dtype, shape): (Dtype, &[usize]),
    hash: &blake3::Hash,
    data: &[u8],
    base: Option<(&[u8], blake3::Hash)>,
) -> Result<Coded, StoreError> {
    encode_piece(dtype, shape, data, base).map_err(|source| StoreError::Payload {
        path: store.path().into(),
        blake3: hash.to_hex().to_string(),
        source,
    })
}

/// Packs with differences that nobody needs any more, because what was wanted is there: other ones of the same pieces, and
/// those of bases.
pub(super) fn superseded(survey: &Survey, wanted: &HashMap<blake3::Hash, Wanted>) -> Vec<String> {
    let mut packs = HashSet::new();
    for (hash, wanted) in wanted {
        let is_wanted = |place: &&Place| place.base == Some(wanted.base);
        if !survey.is_kept_alone(&wanted.base) || !survey.kept_copies(hash).any(|place| is_wanted(&place)) {
            continue;
        }
        let others = survey.kept_copies(hash).filter(|place| !is_wanted(place));
        let of_base = survey.kept_copies(&wanted.base);
        let differences = others.chain(of_base).filter(|place| place.base.is_some());
        packs.extend(differences.map(|place| place.pack.to_string()));
    }
    let mut packs: Vec<String> = packs.into_iter().collect();
    packs.sort();
    packs
}
