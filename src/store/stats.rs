//! What a store saves, and by what.

use std::collections::{BTreeMap, HashSet};

use super::error::StoreError;
use super::family;
use super::store::Store;

/// Models whose tensors have the same names, types and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Their fingerprint.
    pub fingerprint: String,
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

impl Store {
    /// Counts what is in the store.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let mut stats = Stats::default();
        let mut seen = HashSet::new();
        let mut families: BTreeMap<String, (Vec<String>, u64, Vec<blake3::Hash>)> = BTreeMap::new();
        for version in self.list()? {
            let manifest = self.manifest(&version)?;
            stats.models += 1;
            stats.tensors += manifest.tensors().count();
            stats.original_bytes += manifest.bytes();
            let mut pieces = Vec::new();
            for piece in manifest.pieces() {
                let hash = piece.hash()?;
                pieces.push(hash);
                if !seen.insert(hash) {
                    stats.saved_by_dedup += piece.bytes;
                } else if let Some(place) = self.index.place(&hash) {
                    let saved = place.bytes.saturating_sub(place.length);
                    *if place.base.is_some() {
                        &mut stats.saved_by_deltas
                    } else {
                        &mut stats.saved_by_coding
                    } += saved;
                }
            }
            if let Some(fingerprint) = family::fingerprint(&manifest) {
                let family = families.entry(fingerprint).or_default();
                family.0.push(format!("{}@{}", version.model, version.number));
                family.1 += manifest.bytes();
                family.2.append(&mut pieces);
            }
        }
        for pack in self.folder.list("packs")? {
            stats.stored_bytes += self.folder.len(&pack)?;
        }
        for (fingerprint, (models, original_bytes, pieces)) in families {
            let stored_bytes = self.payload_bytes(pieces.into_iter().map(Ok))?;
            stats.families.push(Family { fingerprint, models, original_bytes, stored_bytes });
        }
        stats.families.sort_by_key(|family| std::cmp::Reverse(family.original_bytes));
        Ok(stats)
    }
}
