//! Storing pieces in another way than they are.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;

use super::wanted::Wanted;
use crate::archive::{Progress, reported};
use crate::store::error::StoreError;
use crate::store::index;
use crate::store::pack::PacksWriter;
use crate::store::piece::{Coded, TOGETHER};
use crate::store::store::Store;
use crate::store::survey::Survey;

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
    let packs = packs.finish(&store.objects)?;
    if !packs.is_empty() {
        index::write_run(&store.objects, &packs)?;
    }
    Ok(done)
}

/// A piece that is to be written, with its hash.
type Job<'a> = (&'a blake3::Hash, &'a Wanted);

/// Of each base, the pieces that are shortest as differences to it.
fn needed_alone(survey: &Survey) -> HashMap<blake3::Hash, Vec<blake3::Hash>> {
    let mut needed: HashMap<_, Vec<_>> = HashMap::new();
    for hash in &survey.live {
        if let Some(base) = survey.shortest(hash).and_then(|place| place.base) {
            needed.entry(base).or_default().push(*hash);
        }
    }
    needed
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
        let now = |hash: &blake3::Hash| self.survey.shortest(hash).map_or(0, |place| place.length);
        let before = jobs.iter().fold(now(base), |sum, (hash, _)| sum.saturating_add(now(hash)));
        let data = self.store.read_piece(base_id)?;
        let alone = match self.survey.is_kept_alone(base) {
            true => None,
            false => Some(self.store.encode((*dtype, base_shape), base, &data, None)?.payload),
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
        let objects = &self.store.objects;
        if let Some(payload) = alone {
            packs.add(objects, *base, data.len(), &payload, None)?;
        }
        self.each(&jobs, &data, |hash, wanted, coded| {
            // Somebody who was interrupted may have written it.
            match self.survey.kept_copies(hash).any(|place| place.base == coded.base) {
                true => Ok(()),
                false => packs.add(objects, *hash, wanted.id.bytes as usize, &coded.payload, coded.base),
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
                bytes <= TOGETHER as u64
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (together, after) = rest.split_at(count);
            rest = after;
            let coded = together.par_iter().map(|(hash, wanted)| {
                let data = self.store.read_piece(&wanted.id)?;
                self.store.encode((wanted.dtype, &wanted.shape), hash, &data, Some((base, wanted.base)))
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
