//! Where the payloads of pieces are.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::folder::Folder;
use super::pack::PackEntry;
use super::{name, sealed};

/// The folder of the runs.
pub(super) const RUNS: &str = "index";

/// Where a piece's payload is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub pack: Arc<str>,
    pub start: u64,
    pub length: u64,
    /// Bytes of the piece.
    pub bytes: u64,
    /// The hash of its base, if it is a difference.
    pub base: Option<blake3::Hash>,
}

/// What one pack has, as an index run says it.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    pack: String,
    pieces: Vec<PackEntry>,
}

/// All pieces of a store.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashMap<blake3::Hash, Place>,
}

impl Index {
    /// Reads all runs. Those that cannot be read are handed to `failed`.
    pub fn read(
        folder: &Folder,
        mut failed: impl FnMut(StoreError) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let mut index = Self::default();
        for name in folder.list(RUNS)? {
            let read = sealed::read::<Vec<Run>>(folder, &name).and_then(|runs| {
                let runs = runs.unwrap_or_default();
                runs.iter()
                    .try_for_each(|run| index.take(run))
                    .map_err(|what| StoreError::Object { path: folder.path(&name), what })
            });
            if let Err(error) = read {
                failed(error)?;
            }
        }
        Ok(index)
    }

    fn take(&mut self, run: &Run) -> Result<(), String> {
        let pack: Arc<str> = run.pack.as_str().into();
        let hash = |hex: &String| blake3::Hash::from_hex(hex).map_err(|error| format!("{hex}: {error}"));
        for piece in &run.pieces {
            let base = piece.base.as_ref().map(hash).transpose()?;
            let PackEntry { start, length, bytes, .. } = *piece;
            // Of two payloads, one that needs no base is preferred.
            let place = Place { pack: pack.clone(), start, length, bytes, base };
            let known = self.places.entry(hash(&piece.blake3)?).or_insert_with(|| place.clone());
            if known.base.is_some() && base.is_none() {
                *known = place;
            }
        }
        Ok(())
    }

    /// Adds what was written to packs, and makes it durable as a run.
    pub fn add(&mut self, folder: &Folder, packs: Vec<(String, Vec<PackEntry>)>) -> Result<(), StoreError> {
        if packs.is_empty() {
            return Ok(());
        }
        let runs: Vec<Run> = packs.into_iter().map(|(pack, pieces)| Run { pack, pieces }).collect();
        let name = format!("{RUNS}/{}", name::random());
        let bad = |what: String| StoreError::Object { path: folder.path(&name), what };
        if !folder.create(&name, &sealed::seal(&runs))? {
            return Err(bad("the name is taken".into()));
        }
        runs.iter().try_for_each(|run| self.take(run)).map_err(bad)
    }

    /// Where a piece is; `None` if the store does not have it.
    pub fn place(&self, hash: &blake3::Hash) -> Option<&Place> {
        self.places.get(hash)
    }

    /// All pieces.
    pub fn places(&self) -> impl Iterator<Item = (&blake3::Hash, &Place)> {
        self.places.iter()
    }
}
