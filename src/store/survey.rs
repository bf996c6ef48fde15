//! What versions need, and in which packs it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::condemned::Condemned;
use super::error::StoreError;
use super::index::{self, Place, Run};
use super::manifest::Manifest;
use super::objects::Objects;
use super::pack::PACKS;
use super::session::Sessions;
use super::versions;

/// What a store has, and what of it is needed.
#[derive(Debug)]
pub(super) struct Survey {
    /// Pieces that versions need, and their bases.
    pub live: HashSet<blake3::Hash>,
    /// Pieces that are bases of those, in whatever pack the difference is or was: they must be stored alone.
    bases: HashSet<blake3::Hash>,
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
    pub fn take(objects: &Objects) -> Result<Self, StoreError> {
        let committed = Sessions::read(objects)?.committed.into_iter().map(|(_, commit)| commit.manifest);
        let mut manifests: HashSet<String> = committed.collect();
        manifests.extend(versions::list(objects)?.into_iter().map(|version| version.manifest));
        let mut live = HashSet::new();
        for manifest in manifests {
            for piece in Manifest::read(objects, &manifest)?.pieces() {
                live.insert(piece.hash()?);
            }
        }
        let runs = index::runs(objects, Err)?;
        let condemned = Condemned::packs(&Condemned::read(objects)?);
        let mut packs = BTreeMap::new();
        for pack in objects.list(PACKS)? {
            // A pack may go meanwhile.
            if let Some(len) = objects.len_if_there(&pack)? {
                packs.insert(pack, len);
            }
        }
        let (mut places, mut bases_of) = (HashMap::<_, Vec<Place>>::new(), HashMap::<_, HashSet<_>>::new());
        for run in &runs {
            for place in run.places(objects) {
                let (hash, place) = place?;
                // Also where the pack is gone: the difference may be in a new one by now, and needs its base there, too.
                bases_of.entry(hash).or_default().extend(place.base);
                let copies = places.entry(hash).or_default();
                if packs.contains_key(&*place.pack) && !copies.contains(&place) {
                    copies.push(place);
                }
            }
        }
        let mut bases = HashSet::new();
        let mut unread: Vec<_> = live.iter().copied().collect();
        while let Some(hash) = unread.pop() {
            for &base in bases_of.get(&hash).into_iter().flatten() {
                bases.insert(base);
                if live.insert(base) {
                    unread.push(base);
                }
            }
        }
        Ok(Self { live, bases, places, condemned, packs, runs })
    }

    /// The copies of a piece in packs that nobody has condemned.
    pub fn kept_copies(&self, hash: &blake3::Hash) -> impl Iterator<Item = &Place> {
        let copies = self.places.get(hash).into_iter().flatten();
        copies.filter(|place| !self.condemned.contains(&*place.pack))
    }

    /// The shortest of these.
    pub fn shortest(&self, hash: &blake3::Hash) -> Option<&Place> {
        self.kept_copies(hash).min_by_key(|place| place.length)
    }

    /// Whether a piece is in a pack that nobody has condemned, and is no difference there.
    pub fn is_kept_alone(&self, hash: &blake3::Hash) -> bool {
        self.kept_copies(hash).any(|place| place.base.is_none())
    }

    /// The copies of a needed piece that will serve when all condemned packs are gone, whatever those keep who condemned
    /// them: a difference only if its base is kept, and of a base only those that are stored alone, if there are such.
    fn serving(&self, hash: &blake3::Hash) -> impl Iterator<Item = &Place> {
        let copies = self.places.get(hash).into_iter().flatten();
        let must_be_alone = self.bases.contains(hash) && copies.clone().any(|place| place.base.is_none());
        self.kept_copies(hash).filter(move |place| match place.base {
            None => true,
            Some(base) => !must_be_alone && self.is_kept_alone(&base),
        })
    }

    /// Needed pieces that have copies in `packs`, but none that will serve when those are gone; with the copy that is to
    /// be kept.
    pub fn only_in(&self, packs: &HashSet<&str>) -> Vec<(blake3::Hash, &Place)> {
        let mut found = Vec::new();
        for hash in self.live.iter().filter(|hash| self.serving(hash).next().is_none()) {
            // That other condemned packs have it, too, is no reason to leave it to who deletes those.
            let copies = self.places.get(hash).into_iter().flatten();
            let here = copies.filter(|place| packs.contains(&*place.pack));
            // Alone, it needs nothing else.
            let kept = here.min_by_key(|place| (place.base.is_some(), place.length));
            found.extend(kept.map(|place| (*hash, place)));
        }
        found.sort_by(|(_, a), (_, b)| (&a.pack, a.start).cmp(&(&b.pack, b.start)));
        found
    }

    /// Packs that are not condemned and of which less than half is needed; of a piece with several copies, the shortest
    /// is needed.
    pub fn mostly_dead(&self) -> Vec<String> {
        let mut needed: HashMap<&str, u64> = HashMap::new();
        for hash in &self.live {
            let shortest = self
                .serving(hash)
                .min_by(|a, b| (a.length, &a.pack, a.start).cmp(&(b.length, &b.pack, b.start)));
            if let Some(kept) = shortest {
                let sum = needed.entry(&kept.pack).or_default();
                *sum = sum.saturating_add(kept.length);
            }
        }
        let is_mostly_dead = |pack: &str, len: u64| needed.get(pack).copied().unwrap_or(0) < len / 2;
        let packs = self
            .packs
            .iter()
            .filter(|(pack, len)| !self.condemned.contains(*pack) && is_mostly_dead(pack, **len));
        packs.map(|(pack, _)| pack.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::{ManifestFile, PieceId};
    use super::super::pack::{PackEntry, PackPieces};
    use super::super::session::{Commit, Session};
    use super::super::store::Store;
    use super::*;

    fn piece(hash: &blake3::Hash) -> PieceId {
        PieceId { blake3: hash.to_hex().to_string(), bytes: 2 }
    }

    /// A store whose one version needs the first piece; of the packs, those that are not named "gone" are there.
    fn store(
        root: &std::path::Path,
        hashes: &[blake3::Hash],
        packs: &[(&str, usize, Option<usize>)],
    ) -> Objects {
        let objects = Store::init(root).unwrap().objects;
        let (path, blake3) = ("file".to_string(), blake3::hash(b"").to_hex().to_string());
        let file =
            ManifestFile { path, bytes: 2, blake3, outside: vec![piece(&hashes[0])], tensors: Vec::new() };
        let manifest = Manifest::new(vec![file]).write(&objects).unwrap();
        Session::begin(&objects).unwrap().commit(&Commit { model: "model".into(), manifest }).unwrap();
        for (pack, of, base) in packs {
            let PieceId { blake3, bytes } = piece(&hashes[*of]);
            let base = base.map(|base| hashes[base].to_hex().to_string());
            let pieces = vec![PackEntry { blake3, bytes, start: 256, length: 2, base }];
            index::write_run(&objects, &[PackPieces { pack: name(pack), pieces }]).unwrap();
            if *pack != "gone" {
                objects.create(&name(pack), b"").unwrap();
            }
        }
        objects
    }

    fn name(pack: &str) -> String {
        let hex = blake3::hash(pack.as_bytes()).to_hex();
        format!("{PACKS}/{}/{}", &hex[..2], &hex[..32])
    }

    /// What is kept of a pack that is condemned.
    fn kept(objects: &Objects, pack: &str) -> Vec<blake3::Hash> {
        Condemned::create(objects, vec![name(pack)]).unwrap();
        let survey = Survey::take(objects).unwrap();
        survey.only_in(&HashSet::from([&name(pack)[..]])).into_iter().map(|(hash, _)| hash).collect()
    }

    /// Somebody else moved the difference after the index was read.
    #[test]
    fn the_base_of_a_difference_whose_pack_is_gone_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let hashes = [1, 2].map(|i: u8| blake3::hash(&[i]));
        let objects = store(root.path(), &hashes, &[("gone", 0, Some(1)), ("a", 1, None)]);
        assert_eq!(kept(&objects, "a"), [hashes[1]]);
    }

    /// Whoever condemned it may have looked when nobody needed the difference.
    #[test]
    fn a_difference_to_what_is_condemned_does_not_serve() {
        let root = tempfile::tempdir().unwrap();
        let hashes = [1, 2].map(|i: u8| blake3::hash(&[i]));
        let packs = [("alone", 0, None), ("difference", 0, Some(1)), ("base", 1, None)];
        let objects = store(root.path(), &hashes, &packs);
        assert!(kept(&objects, "alone").is_empty());
        assert_eq!(kept(&objects, "base"), [hashes[1]]);
        assert_eq!(kept(&objects, "alone"), [hashes[0]]);
    }

    /// A base may be stored as a difference, too, but then nothing that refers to it can be read.
    #[test]
    fn bases_are_kept_alone() {
        let root = tempfile::tempdir().unwrap();
        let hashes = [1, 2, 3].map(|i: u8| blake3::hash(&[i]));
        let packs = [("a", 0, Some(1)), ("b", 1, None), ("b-again", 1, Some(2)), ("c", 2, None)];
        let objects = store(root.path(), &hashes, &packs);
        assert!(kept(&objects, "b-again").is_empty());
        assert_eq!(kept(&objects, "b"), [hashes[1]]);
    }
}
