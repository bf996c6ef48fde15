//! What versions need, and in which packs it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::condemned::Condemned;
use super::error::StoreError;
use super::folder::Folder;
use super::index::{self, Place, Run};
use super::manifest::Manifest;
use super::pack::PACKS;
use super::session::Sessions;
use super::versions;

/// What a store has, and what of it is needed.
#[derive(Debug)]
pub(super) struct Survey {
    /// Pieces that versions need, and their bases.
    pub live: HashSet<blake3::Hash>,
    /// Pieces that are bases of those: they must be stored alone.
    pub bases: HashSet<blake3::Hash>,
    /// All copies of all pieces that are in packs that are there.
    pub places: HashMap<blake3::Hash, Vec<Place>>,
    /// Packs that are to be deleted, by anybody.
    pub condemned: HashSet<String>,
    /// The packs, with their bytes.
    pub packs: BTreeMap<String, u64>,
    pub runs: Vec<Run>,
}

impl Survey {
    /// Reads commits, versions, the index, what is condemned, and the list of packs, in this order. A commit that is gone
    /// when the commits are listed has its version by then, and what a version needs was in the index before. A pack that
    /// is condemned later will be so by somebody who reads the same index. One that was condemned, and is not any more
    /// when that is read, is not listed. Whatever cannot be read is an error, because something may be needed by it.
    pub fn take(folder: &Folder) -> Result<Self, StoreError> {
        let committed = Sessions::read(folder)?.committed.into_iter().map(|(_, commit)| commit.manifest);
        let mut manifests: HashSet<String> = committed.collect();
        manifests.extend(versions::list(folder)?.into_iter().map(|version| version.manifest));
        let mut live = HashSet::new();
        for manifest in manifests {
            for piece in Manifest::read(folder, &manifest)?.pieces() {
                live.insert(piece.hash()?);
            }
        }
        let runs = index::runs(folder, Err)?;
        let condemned = Condemned::packs(&Condemned::read(folder)?);
        let mut packs = BTreeMap::new();
        for pack in folder.list(PACKS)? {
            // A pack may go meanwhile.
            if let Some(len) = folder.len_if_there(&pack)? {
                packs.insert(pack, len);
            }
        }
        let mut places: HashMap<_, Vec<Place>> = HashMap::new();
        for run in &runs {
            for place in run.places(folder) {
                let (hash, place) = place?;
                let copies = places.entry(hash).or_default();
                if packs.contains_key(&*place.pack) && !copies.contains(&place) {
                    copies.push(place);
                }
            }
        }
        let mut bases = HashSet::new();
        let mut unread: Vec<_> = live.iter().copied().collect();
        while let Some(hash) = unread.pop() {
            for base in places.get(&hash).into_iter().flatten().filter_map(|place| place.base) {
                bases.insert(base);
                if live.insert(base) {
                    unread.push(base);
                }
            }
        }
        Ok(Self { live, bases, places, condemned, packs, runs })
    }

    /// The copies of a needed piece that serve: of a base those that are stored alone, if there are such.
    fn copies(&self, hash: &blake3::Hash) -> Vec<&Place> {
        let all: Vec<&Place> = self.places.get(hash).into_iter().flatten().collect();
        let alone: Vec<&Place> = all.iter().copied().filter(|place| place.base.is_none()).collect();
        if self.bases.contains(hash) && !alone.is_empty() { alone } else { all }
    }

    /// Needed pieces that have copies in `packs`, but none in packs that are not condemned; with the copy that is to be
    /// kept.
    pub fn only_in(&self, packs: &HashSet<&str>) -> Vec<(blake3::Hash, &Place)> {
        let mut found = Vec::new();
        for hash in &self.live {
            let copies = self.copies(hash);
            if copies.iter().all(|place| self.condemned.contains(&*place.pack)) {
                // That other condemned packs have it, too, is no reason to leave it to who deletes those.
                let here = copies.into_iter().filter(|place| packs.contains(&*place.pack));
                // Alone, it needs nothing else.
                let kept = here.min_by_key(|place| (place.base.is_some(), place.length));
                found.extend(kept.map(|place| (*hash, place)));
            }
        }
        found.sort_by(|(_, a), (_, b)| (&a.pack, a.start).cmp(&(&b.pack, b.start)));
        found
    }

    /// Packs that are not condemned and of which less than half is needed; of a piece with several copies, one is needed.
    pub fn mostly_dead(&self) -> Vec<String> {
        let condemned = &self.condemned;
        let mut needed: HashMap<&str, u64> = HashMap::new();
        for hash in &self.live {
            let copies = self.copies(hash).into_iter().filter(|place| !condemned.contains(&*place.pack));
            if let Some(kept) = copies.min_by(|a, b| (&a.pack, a.start).cmp(&(&b.pack, b.start))) {
                let sum = needed.entry(&kept.pack).or_default();
                *sum = sum.saturating_add(kept.length);
            }
        }
        let is_mostly_dead = |pack: &str, len: u64| needed.get(pack).copied().unwrap_or(0) < len / 2;
        let packs =
            self.packs.iter().filter(|(pack, len)| !condemned.contains(*pack) && is_mostly_dead(pack, **len));
        packs.map(|(pack, _)| pack.clone()).collect()
    }
}
