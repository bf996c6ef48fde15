//! What a store saves, and by what.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::error::StoreError;
use super::index::Place;
use super::linked::Linked;
use super::pack::PACKS;
use super::store::Store;

/// Models that have tensors in common, or differences to the same tensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// Their versions, such as `smollm2@1`.
    pub models: Vec<String>,
    /// Bytes of their files.
    pub original_bytes: u64,
    /// Bytes of the payloads that they need, each counted once.
    pub stored_bytes: u64,
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of versions.
    pub models: usize,
    /// Number of their tensors.
    pub tensors: usize,
    /// Bytes of all their files.
    pub original_bytes: u64,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// Bytes that were not stored because the store had them.
    pub saved_by_dedup: u64,
    /// Bytes that differences take less than what they stand for.
    pub saved_by_deltas: u64,
    /// Bytes that pieces stored alone take less than what they stand for.
    pub saved_by_coding: u64,
    /// The families, the largest first.
    pub families: Vec<Family>,
}

/// Which models belong together, by their numbers.
#[derive(Debug, Default)]
struct Kinship {
    models: Linked,
    /// The model that had a tensor first, by the piece that is stored alone.
    first: HashMap<blake3::Hash, usize>,
}

impl Kinship {
    fn add_piece(&mut self, model: usize, alone: blake3::Hash) {
        let other = *self.first.entry(alone).or_insert(model);
        self.models.link(model, other);
    }
}

impl Store {
    /// Counts what is in the store.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let mut stats = Stats::default();
        let mut seen = HashSet::new();
        let mut kinship = Kinship::default();
        let mut models = Vec::new();
        for version in self.list()? {
            let manifest = self.manifest(&version)?;
            let number = kinship.models.add();
            stats.models += 1;
            stats.tensors += manifest.tensors().count();
            stats.original_bytes = stats.original_bytes.saturating_add(manifest.bytes());
            let mut pieces = Vec::new();
            for piece in manifest.pieces() {
                let hash = piece.hash()?;
                pieces.push(hash);
                stats.count(piece.bytes, self.index.place(&hash), seen.insert(hash));
            }
            // Small tensors, such as norms of ones, are the same in models that have nothing to do with each other.
            for piece in manifest.tensors().filter(|tensor| tensor.sketch.is_some()).flat_map(|t| &t.pieces) {
                let hash = piece.hash()?;
                let base = self.index.place(&hash).and_then(|place| place.base);
                kinship.add_piece(number, base.unwrap_or(hash));
            }
            models.push((format!("{}@{}", version.model, version.number), manifest.bytes(), pieces));
        }
        for pack in self.objects.list(PACKS)? {
            stats.stored_bytes += self.objects.len(&pack)?;
        }
        stats.families = self.families(&mut kinship.models, models)?;
        Ok(stats)
    }

    /// The families of models, which have a name, the bytes of their files, and pieces.
    fn families(
        &self,
        linked: &mut Linked,
        models: Vec<(String, u64, Vec<blake3::Hash>)>,
    ) -> Result<Vec<Family>, StoreError> {
        let mut families: BTreeMap<usize, (Family, Vec<blake3::Hash>)> = BTreeMap::new();
        for (number, (name, bytes, pieces)) in models.into_iter().enumerate() {
            let (family, all) = families.entry(linked.first_of(number)).or_default();
            family.models.push(name);
            family.original_bytes = family.original_bytes.saturating_add(bytes);
            all.extend(pieces);
        }
        let mut counted = Vec::new();
        for (mut family, pieces) in families.into_values() {
            family.stored_bytes = self.payload_bytes(pieces.into_iter().map(Ok))?;
            counted.push(family);
        }
        counted.sort_by_key(|family| std::cmp::Reverse(family.original_bytes));
        Ok(counted)
    }
}

impl Stats {
    /// Counts a piece of a model; `is_new` if no model before had it.
    fn count(&mut self, bytes: u64, place: Option<&Place>, is_new: bool) {
        let Some(place) = place.filter(|_| is_new) else {
            self.saved_by_dedup = self.saved_by_dedup.saturating_add(if is_new { 0 } else { bytes });
            return;
        };
        let saved = place.bytes.saturating_sub(place.length);
        match place.base {
            Some(_) => self.saved_by_deltas = self.saved_by_deltas.saturating_add(saved),
            None => self.saved_by_coding = self.saved_by_coding.saturating_add(saved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_share_anything_are_one_family() {
        let piece = |name: &str| blake3::hash(name.as_bytes());
        let mut kinship = Kinship::default();
        let models = [0, 1, 2, 3].map(|_| kinship.models.add());
        kinship.add_piece(0, piece("a"));
        kinship.add_piece(1, piece("b"));
        kinship.add_piece(2, piece("c"));
        kinship.add_piece(3, piece("a"));
        assert_eq!(models.map(|model| kinship.models.first_of(model)), [0, 1, 2, 0]);
        kinship.add_piece(3, piece("c"));
        assert_eq!(models.map(|model| kinship.models.first_of(model)), [0, 1, 0, 0]);
    }
}
