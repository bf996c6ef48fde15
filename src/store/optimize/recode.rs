//! Storing pieces in another way than they are.

use std::collections::{BTreeMap, HashMap, HashSet};

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

/// Writes the wanted pieces, where all that are compared to one base take fewer bytes so, the base that has to be stored
/// alone for them included. Gives the pieces that are now as they were wanted.
pub(super) fn recode(
    store: &Store,
    survey: &Survey,
    wanted: &HashMap<blake3::Hash, Wanted>,
    progress: &dyn Progress,
) -> Result<HashSet<blake3::Hash>, StoreError> {
    let mut groups: BTreeMap<[u8; 32], Vec<Job>> = BTreeMap::new();
    for (hash, wanted) in wanted.iter().filter(|(_, wanted)| wanted.is_new) {
        groups.entry(*wanted.base.as_bytes()).or_default().push((hash, wanted));
    }
    let all = groups.values().flatten();
    // What is worth it is encoded twice.
    let bytes = all.fold(0u64, |sum, (_, wanted)| sum.saturating_add(wanted.id.bytes.saturating_mul(2)));
    let needed_alone = needed_alone(survey);
    let mut recoding = Recoding {
        store,
        survey,
        needed_alone,
        packs: PacksWriter::default(),
        done: HashSet::new(),
        progress,
    };
    reported(progress, bytes, "coding", || {
        groups.into_values().try_for_each(|mut group| {
            group.sort_by_key(|(hash, _)| *hash.as_bytes());
            recoding.group(&group)
        })
    })?;
    let Recoding { packs, done, .. } = recoding;
    let packs = packs.finish(&store.folder)?;
    if !packs.is_empty() {
        index::write_run(&store.folder, &packs)?;
    }
    Ok(done)
}

/// A piece that is to be written, with its hash.
type Job<'a> = (&'a blake3::Hash, &'a Wanted);

/// Of each base, the pieces that are shortest as differences to it.
fn needed_alone(survey: &Survey) -> HashMap<blake3::Hash, Vec<blake3::Hash>> {
    let mut needed: HashMap<_, Vec<_>> = HashMap::new();
    for hash in &survey.live {
        if let Some(base) = shortest(survey, hash).and_then(|place| place.base) {
            needed.entry(base).or_default().push(*hash);
        }
    }
    needed
}

/// The shortest copy of a piece.
fn shortest<'a>(survey: &'a Survey, hash: &blake3::Hash) -> Option<&'a Place> {
    survey.kept_copies(hash).min_by_key(|place| place.length)
}

/// What is needed while pieces are written.
struct Recoding<'a> {
    store: &'a Store,
    survey: &'a Survey,
    /// Of each base, the pieces that are differences to it now.
    needed_alone: HashMap<blake3::Hash, Vec<blake3::Hash>>,
    packs: PacksWriter,
    done: HashSet<blake3::Hash>,
    progress: &'a dyn Progress,
}

impl Recoding<'_> {
    /// Writes all pieces that are to be differences to one base, if that saves anything.
    fn group(&mut self, jobs: &[Job]) -> Result<(), StoreError> {
        let Some((_, Wanted { base, base_id, base_shape, dtype, .. })) = jobs.first() else { return Ok(()) };
        let members: HashSet<&blake3::Hash> = jobs.iter().map(|(hash, _)| *hash).collect();
        // What others are compared to, and will be, stays as it is.
        let is_free = |hash: &blake3::Hash| {
            let mut others = self.needed_alone.get(hash).into_iter().flatten();
            others.all(|other| other == base || members.contains(other))
        };
        let jobs: Vec<Job> = jobs.iter().copied().filter(|(hash, _)| is_free(hash)).collect();
        let now = |hash: &blake3::Hash| shortest(self.survey, hash).map_or(0, |place| place.length);
        let before = jobs.iter().fold(now(base), |sum, (hash, _)| sum.saturating_add(now(hash)));
        let data = self.store.read_piece(base_id)?;
        let alone = match self.survey.is_kept_alone(base) {
            true => None,
            false => Some(encoded(self.store, (*dtype, base_shape), base, &data, None)?.payload),
        };
        let mut after = alone.as_ref().map_or(now(base), |payload| payload.len() as u64);
        // Their lengths come first: all of them at once may be more than fits in memory.
        self.each(&jobs, &data, |_, _, coded| {
            after = after.saturating_add(coded.payload.len() as u64);
            Ok(())
        })?;
        if after >= before {
            return Ok(());
        }
        let mut packs = std::mem::take(&mut self.packs);
        let folder = &self.store.folder;
        if let Some(payload) = alone {
            packs.add(folder, *base, data.len(), &payload, None)?;
        }
        self.each(&jobs, &data, |hash, wanted, coded| {
            // Somebody who was interrupted may have written it.
            match self.survey.kept_copies(hash).any(|place| place.base == coded.base) {
                true => Ok(()),
                false => packs.add(folder, *hash, wanted.id.bytes as usize, &coded.payload, coded.base),
            }
        })?;
        self.packs = packs;
        self.done.extend(jobs.iter().map(|(hash, _)| **hash));
        Ok(())
    }

    /// Encodes pieces, as differences to `base` or alone, whichever is shorter.
    fn each(
        &self,
        jobs: &[Job],
        base: &[u8],
        mut take: impl FnMut(&blake3::Hash, &Wanted, &Coded) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = jobs;
        while !rest.is_empty() {
            if self.progress.cancelled() {
                return Err(StoreError::Cancelled);
            }
            let mut bytes = 0;
            let fits = |(_, wanted): &&Job| {
                bytes = wanted.id.bytes.saturating_add(bytes);
                bytes <= TOGETHER
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (together, after) = rest.split_at(count);
            rest = after;
            let coded = together.par_iter().map(|(hash, wanted)| {
                let data = self.store.read_piece(&wanted.id)?;
                encoded(self.store, (wanted.dtype, &wanted.shape), hash, &data, Some((base, wanted.base)))
            });
            let coded: Vec<Coded> = coded.collect::<Result<_, StoreError>>()?;
            for ((hash, wanted), coded) in together.iter().zip(&coded) {
                self.progress.advance(wanted.id.bytes);
                take(hash, wanted, coded)?;
            }
        }
        Ok(())
    }
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
pub(super) fn superseded(
    survey: &Survey,
    wanted: &HashMap<blake3::Hash, Wanted>,
    done: &HashSet<blake3::Hash>,
) -> Vec<String> {
    let mut packs = HashSet::new();
    for (hash, wanted) in wanted {
        let is_wanted = |place: &Place| place.base == Some(wanted.base);
        let is_there = survey.is_kept_alone(&wanted.base) && survey.kept_copies(hash).any(is_wanted);
        // One that was done may be shorter alone.
        let is_done = is_there || done.contains(hash) && survey.is_kept_alone(hash);
        if !is_done {
            continue;
        }
        let others = survey.kept_copies(hash).filter(|place| !is_wanted(place));
        let of_base = survey.kept_copies(&wanted.base).filter(|_| is_there);
        let differences = others.chain(of_base).filter(|place| place.base.is_some());
        packs.extend(differences.map(|place| place.pack.to_string()));
    }
    let mut packs: Vec<String> = packs.into_iter().collect();
    packs.sort();
    packs
}
