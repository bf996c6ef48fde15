//! Making an index again from what packs say, and rescuing what damaged packs still have.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::error::StoreError;
use super::index::{self, Index, Place, RUNS};
use super::objects::{Location, Objects};
use super::pack::{self, PACKS, PackEntry, PackPieces, PacksWriter};
use super::store::Store;

/// What was repaired.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Pieces that no readable index run had, and that are found again.
    pub found: usize,
    /// Pieces of damaged packs that could still be decoded, and are in a new pack.
    pub rescued: usize,
    /// The hashes of pieces that are lost: adding their models again brings them back.
    pub lost: Vec<String>,
    /// Damaged objects that were deleted, because all that they had is elsewhere now. A damaged pack of which
    /// anything is lost stays.
    pub deleted: Vec<String>,
}

/// What is in the packs that can be read.
struct Packs {
    whole: Vec<PackPieces>,
    damaged: Vec<String>,
}

impl Packs {
    fn read(objects: &Objects) -> Result<Self, StoreError> {
        let mut packs = Self { whole: Vec::new(), damaged: Vec::new() };
        for pack in objects.list(PACKS)? {
            match pack::entries(objects, &pack) {
                Ok(pieces) => packs.whole.push(PackPieces { pack, pieces }),
                Err(StoreError::Object { .. }) => packs.damaged.push(pack),
                Err(other) => return Err(other),
            }
        }
        Ok(packs)
    }

    /// All pieces, by the names of their packs and their hashes.
    fn pieces(&self) -> HashMap<(&str, &str), &PackEntry> {
        let all = self
            .whole
            .iter()
            .flat_map(|p| p.pieces.iter().map(|piece| ((&p.pack[..], &piece.blake3[..]), piece)));
        all.collect()
    }
}

impl Store {
    /// Makes the store at `path` whole, as far as that is possible. Pieces in packs that the index does not
    /// name, as where a run is missing or damaged, are added to it; pieces of damaged packs that still decode
    /// to their bytes are written to a new pack; and damaged runs, and packs of which nothing is lost, are
    /// deleted. [`Store::check`] tells which versions lack something after that.
    ///
    /// Nobody may add to the store meanwhile.
    pub fn repair(at: impl Into<Location>) -> Result<Repair, StoreError> {
        let objects = Self::objects(at)?;
        let runs = objects.list(RUNS)?;
        let mut damaged = Vec::new();
        let index = Index::read_all(&objects, |error| match error {
            StoreError::Object { path, .. } => {
                damaged.push(path);
                Ok(())
            }
            other => Err(other),
        })?;
        let packs = Packs::read(&objects)?;
        let mut repair = Repair::default();
        let store = Self { objects, index };
        let pieces = packs.pieces();
        let astray = store.index.places().filter(|(hash, place)| {
            let hex = hash.to_hex();
            let entry = pieces.get(&(&place.pack[..], hex.as_str()));
            entry.is_none_or(|entry| (entry.start, entry.length) != (place.start, place.length))
        });
        let mut astray: Vec<(blake3::Hash, Place)> =
            astray.map(|(hash, place)| (*hash, place.clone())).collect();
        astray.sort_by_key(|(hash, _)| *hash.as_bytes());
        let known: HashSet<blake3::Hash> = store.index.places().map(|(hash, _)| *hash).collect();
        let unknown = |entry: &&PackEntry| {
            blake3::Hash::from_hex(&entry.blake3).is_ok_and(|hash| !known.contains(&hash))
        };
        repair.found =
            pieces.values().copied().filter(unknown).map(|entry| &entry.blake3).collect::<HashSet<_>>().len();
        if damaged.is_empty() && packs.damaged.is_empty() && astray.is_empty() && repair.found == 0 {
            return Ok(repair);
        }
        let rescued = store.rescue(&astray, &pieces, &mut repair)?;
        let mut whole = packs.whole;
        whole.extend(rescued);
        index::write_run(&store.objects, &whole)?;
        let spent = packs.damaged.into_iter().filter(|pack| is_spent(pack, &astray, &repair.lost));
        for name in runs.into_iter().chain(spent.collect::<Vec<_>>()) {
            let path: PathBuf = store.objects.path(&name);
            store.objects.remove(&name)?;
            if damaged.contains(&path) || name.starts_with("packs") {
                repair.deleted.push(name);
            }
        }
        Ok(repair)
    }

    /// Writes the pieces that can still be decoded to new packs.
    fn rescue(
        &self,
        astray: &[(blake3::Hash, Place)],
        pieces: &HashMap<(&str, &str), &PackEntry>,
        repair: &mut Repair,
    ) -> Result<Vec<PackPieces>, StoreError> {
        let elsewhere: HashSet<&str> = pieces.keys().map(|(_, hash)| *hash).collect();
        let mut packs = PacksWriter::default();
        for (hash, place) in astray {
            let hex = hash.to_hex();
            if elsewhere.contains(hex.as_str()) {
                continue;
            }
            match self.read_payload(hash, place) {
                Ok(payload) => {
                    packs.add(&self.objects, *hash, place.bytes as usize, &payload, place.base)?;
                    repair.rescued += 1;
                }
                Err(_) => repair.lost.push(hex.to_string()),
            }
        }
        packs.finish(&self.objects)
    }
}

/// Whether all that a damaged pack had is elsewhere. An index run has all pieces of a pack, so where the index
/// knows none of them, nobody knows what is in it.
fn is_spent(pack: &str, astray: &[(blake3::Hash, Place)], lost: &[String]) -> bool {
    let mut known =
        astray.iter().filter(|(_, place)| *place.pack == *pack).map(|(hash, _)| hash.to_hex()).peekable();
    known.peek().is_some() && known.all(|hash| !lost.iter().any(|lost| lost == hash.as_str()))
}
