//! Checking a store.

use std::collections::{HashMap, HashSet};

use super::collection::Share;
use super::condemned::{self, Condemned};
use super::error::StoreError;
use super::index::{Index, RUNS};
use super::manifest::{Manifest, PieceId};
use super::objects::{Location, Objects};
use super::pack::{self, PACKS};
use super::session::{self, Sessions};
use super::store::Store;
use super::versions::Version;
use crate::archive::{Progress, reported};

/// How often a store is looked at that has faults and changes meanwhile.
const AGAIN: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Check {
    /// Number of objects that were looked at.
    pub objects: usize,
    /// All faults; empty if there are none.
    pub failures: Vec<CheckFailure>,
}

/// A fault.
#[derive(Debug)]
pub struct CheckFailure {
    /// The object, or the hash of the piece.
    pub object: String,
    /// A version that needs it, if one does.
    pub model: Option<String>,
    /// What is wrong.
    pub error: StoreError,
}

impl Store {
    /// Checks the store at `path`: that every object can be read and has its checksum, and that each piece
    /// that a version needs is in a pack. Those of the share `read` are decoded and hashed, too.
    pub fn check(
        at: impl Into<Location>,
        read: Option<Share>,
        progress: &dyn Progress,
    ) -> Result<Check, StoreError> {
        let objects = Self::objects(at)?;
        let listed = || Ok::<_, StoreError>((objects.list(RUNS)?, objects.list(PACKS)?));
        let mut check = Check::default();
        // What is collected meanwhile goes while it is looked at. A store that is never still must not keep this from
        // its end.
        for _ in 0..AGAIN {
            let before = listed()?;
            check = Self::check_once(objects.clone(), read, progress)?;
            if check.failures.is_empty() || listed()? == before {
                break;
            }
        }
        Ok(check)
    }

    fn check_once(
        objects: Objects,
        read: Option<Share>,
        progress: &dyn Progress,
    ) -> Result<Check, StoreError> {
        let mut check = Check::default();
        let mut failed = Vec::new();
        let index = Index::read_all(&objects, |error| {
            failed.push(error);
            Ok(())
        })?;
        failed.into_iter().for_each(|error| check.fail(name_of(&error), None, error));
        check.objects += objects.list(RUNS)?.len();
        let mut packed = HashSet::new();
        for name in objects.list(PACKS)? {
            check.objects += 1;
            match pack::entries(&objects, &name) {
                Ok(entries) => {
                    packed.extend(entries.into_iter().map(|e| (name.clone(), e.start, e.length, e.blake3)))
                }
                Err(error) => check.fail(name, None, error),
            }
        }
        check.transactions(&objects)?;
        let store = Self { objects, index };
        let needed = check.versions(&store)?;
        let is_read = |piece: &PieceId| read.is_some_and(|share| share.has(&piece.blake3));
        let bytes = needed.values().filter(|(piece, _)| is_read(piece));
        let bytes = bytes.fold(0u64, |sum, (piece, _)| sum.saturating_add(piece.bytes));
        reported(progress, bytes, "checking", || {
            for (hash, (piece, model)) in &needed {
                if progress.cancelled() {
                    return Err(StoreError::Cancelled);
                }
                if let Err(error) = store.check_piece(hash, piece, &packed, is_read(piece)) {
                    check.fail(piece.blake3.clone(), Some(model.clone()), error);
                }
                if is_read(piece) {
                    progress.advance(piece.bytes);
                }
            }
            Ok(())
        })?;
        check.failures.sort_by(|a, b| a.object.cmp(&b.object));
        Ok(check)
    }

    fn check_piece(
        &self,
        hash: &blake3::Hash,
        piece: &PieceId,
        packed: &HashSet<(String, u64, u64, String)>,
        is_read: bool,
    ) -> Result<(), StoreError> {
        let bad = |what: &str| StoreError::Piece { blake3: piece.blake3.clone(), what: what.into() };
        let mut needed = vec![*hash];
        needed.extend(self.index.place(hash).and_then(|place| place.base));
        for hash in needed {
            let place = self.index.place(&hash).ok_or_else(|| bad("no index has it, or its base"))?;
            let entry = (place.pack.to_string(), place.start, place.length, hash.to_hex().to_string());
            if !packed.contains(&entry) {
                return Err(bad("the pack that the index names does not have it, or its base"));
            }
        }
        if is_read {
            self.read_piece(piece)?;
        }
        Ok(())
    }
}

impl Check {
    /// Looks at what writers and collectors have said.
    fn transactions(&mut self, objects: &Objects) -> Result<(), StoreError> {
        self.objects += objects.list(session::SESSIONS)?.len() + objects.list(condemned::CONDEMNED)?.len();
        let read = [Sessions::read(objects).map(drop), Condemned::read(objects).map(drop)];
        read.into_iter().filter_map(Result::err).for_each(|error| self.fail(name_of(&error), None, error));
        Ok(())
    }

    /// The pieces that versions need, each with one of them. Versions that cannot be read are failures.
    fn versions(&mut self, store: &Store) -> Result<HashMap<blake3::Hash, (PieceId, String)>, StoreError> {
        let mut needed = HashMap::new();
        self.objects += store.objects.list("models")?.len();
        let versions = match store.list() {
            Ok(versions) => versions,
            Err(error) => {
                self.fail(name_of(&error), None, error);
                return Ok(needed);
            }
        };
        for version in versions {
            let Version { model, number, manifest } = &version;
            let model = format!("{model}@{number}");
            self.objects += 1;
            match Manifest::read(&store.objects, manifest) {
                Ok(manifest) => {
                    for piece in manifest.pieces() {
                        match piece.hash() {
                            Ok(hash) => {
                                needed.entry(hash).or_insert_with(|| (piece.clone(), model.clone()));
                            }
                            Err(error) => self.fail(piece.blake3.clone(), Some(model.clone()), error),
                        }
                    }
                }
                Err(error) => self.fail(format!("manifests/{manifest}"), Some(model), error),
            }
        }
        Ok(needed)
    }

    fn fail(&mut self, object: String, model: Option<String>, error: StoreError) {
        self.failures.push(CheckFailure { object, model, error });
    }
}

fn name_of(error: &StoreError) -> String {
    match error {
        StoreError::Object { path, .. } | StoreError::Io { path, .. } => path.display().to_string(),
        other => other.to_string(),
    }
}
