//! Where the payloads of pieces are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::error::StoreError;
use super::objects::Objects;
use super::pack::{self, PACKS, PackEntry, PackPieces};
use super::{name, sealed};

/// The folder of the runs.
pub(super) const RUNS: &str = "index";

/// How often runs are listed again because one of them was replaced meanwhile.
const AGAIN: usize = 100;

/// Where a piece's payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub pack: Arc<str>,
    pub start: u64,
    pub length: u64,
    /// Bytes of the piece.
    pub bytes: u64,
    /// The hash of its base, if it is a difference.
    pub base: Option<blake3::Hash>,
}

/// The hashes of a pack's pieces, and where they are.
fn places(packed: &PackPieces) -> impl Iterator<Item = Result<(blake3::Hash, Place), String>> {
    let pack: Arc<str> = packed.pack.as_str().into();
    let hash = |hex: &String| blake3::Hash::from_hex(hex).map_err(|error| format!("{hex}: {error}"));
    let is_pack = pack::is_name(&pack);
    packed.pieces.iter().map(move |piece| {
        if !is_pack {
            return Err(format!("{pack:?} is no name of a pack"));
        }
        let base = piece.base.as_ref().map(hash).transpose()?;
        let PackEntry { start, length, bytes, .. } = *piece;
        Ok((hash(&piece.blake3)?, Place { pack: pack.clone(), start, length, bytes, base }))
    })
}

/// An object of the index.
#[derive(Debug)]
pub(super) struct Run {
    pub name: String,
    pub packs: Vec<PackPieces>,
}

impl Run {
    /// Where the pieces of all its packs are.
    pub fn places(
        &self,
        objects: &Objects,
    ) -> impl Iterator<Item = Result<(blake3::Hash, Place), StoreError>> {
        let path = objects.path(&self.name);
        let bad = move |what| StoreError::Object { path: path.clone(), what };
        self.packs.iter().flat_map(places).map(move |place| place.map_err(&bad))
    }
}

/// Reads all runs. Those that cannot be read are handed to `failed`.
pub(super) fn runs(
    objects: &Objects,
    mut failed: impl FnMut(StoreError) -> Result<(), StoreError>,
) -> Result<Vec<Run>, StoreError> {
    // Runs are replaced while others read: what a run had that is gone is in one that came meanwhile.
    for _ in 0..AGAIN {
        let mut errors = Vec::new();
        if let Some(runs) = listed_runs(objects, &mut errors)? {
            errors.into_iter().try_for_each(&mut failed)?;
            return Ok(runs);
        }
    }
    let what = "objects in it go while they are read; try again when nobody collects".into();
    Err(StoreError::Object { path: objects.path(RUNS), what })
}

/// The runs that are listed; `None` if one of them is gone when it is read.
fn listed_runs(objects: &Objects, failed: &mut Vec<StoreError>) -> Result<Option<Vec<Run>>, StoreError> {
    let mut runs = Vec::new();
    for name in objects.list(RUNS)? {
        match sealed::read::<Vec<PackPieces>>(objects, &name) {
            Ok(Some(packs)) => runs.push(Run { name, packs }),
            Ok(None) => return Ok(None),
            Err(error) => failed.push(error),
        }
    }
    Ok(Some(runs))
}

/// Makes what packs have durable as a run.
pub(super) fn write_run(objects: &Objects, packs: &[PackPieces]) -> Result<(), StoreError> {
    let name = format!("{RUNS}/{}", name::random());
    match objects.create(&name, &sealed::seal(&packs))? {
        true => Ok(()),
        false => Err(StoreError::Object { path: objects.path(&name), what: "the name is taken".into() }),
    }
}

/// All pieces of a store.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashMap<blake3::Hash, Place>,
    /// Number of packs that runs name, but that are not there.
    missing: usize,
}

impl Index {
    /// Reads all runs, and keeps the pieces of packs that are there and not among `without`; differences only if their
    /// base is kept, alone. Whoever refers to a piece then has all that it is decoded from, and nobody deletes that
    /// before the session ends that began earlier.
    pub fn read(objects: &Objects, without: &HashSet<String>) -> Result<Self, StoreError> {
        let runs = runs(objects, Err)?;
        // Listed after the runs are read: a pack that is not there now never comes back.
        let packs: HashSet<String> = objects.list(PACKS)?.into_iter().collect();
        let mut index = Self::default();
        let has = |pack: &str| packs.contains(pack) && !without.contains(pack);
        // Without its base a difference serves nobody.
        index.take_runs(objects, &runs, has, Err)?;
        index.missing = runs.iter().flat_map(|run| &run.packs).filter(|p| !packs.contains(&p.pack)).count();
        Ok(index)
    }

    /// All that runs say, also of packs that are missing. Runs that cannot be read are handed to `failed`.
    pub fn read_all(
        objects: &Objects,
        mut failed: impl FnMut(StoreError) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let runs = runs(objects, &mut failed)?;
        let mut index = Self::default();
        let baseless = index.take_runs(objects, &runs, |_| true, failed)?;
        for (hash, place) in baseless {
            index.places.entry(hash).or_insert(place);
        }
        Ok(index)
    }

    /// Takes the places in packs for which `has` is true. Gives the differences whose base is not among them, alone.
    fn take_runs(
        &mut self,
        objects: &Objects,
        runs: &[Run],
        has: impl Fn(&str) -> bool,
        mut failed: impl FnMut(StoreError) -> Result<(), StoreError>,
    ) -> Result<Vec<(blake3::Hash, Place)>, StoreError> {
        let mut differences = Vec::new();
        for run in runs {
            for place in run.places(objects) {
                match place {
                    Ok((_, place)) if !has(&place.pack) => {}
                    Ok((hash, place)) if place.base.is_none() => self.take(hash, place),
                    Ok(difference) => differences.push(difference),
                    Err(error) => {
                        failed(error)?;
                        break;
                    }
                }
            }
        }
        let mut baseless = Vec::new();
        for (hash, place) in differences {
            match place.base.is_some_and(|base| self.is_alone(&base)) {
                true => self.take(hash, place),
                false => baseless.push((hash, place)),
            }
        }
        Ok(baseless)
    }

    /// Whether a piece is there, and no difference.
    pub fn is_alone(&self, hash: &blake3::Hash) -> bool {
        self.places.get(hash).is_some_and(|place| place.base.is_none())
    }

    /// Of several payloads, one that needs no base is preferred, and then the shortest.
    fn take(&mut self, hash: blake3::Hash, place: Place) {
        let cost = |place: &Place| (place.base.is_some(), place.length);
        match self.places.get_mut(&hash) {
            Some(known) if cost(known) <= cost(&place) => {}
            Some(known) => *known = place,
            None => drop(self.places.insert(hash, place)),
        }
    }

    /// Adds what was written to packs, and makes it durable as a run.
    pub fn add(&mut self, objects: &Objects, packs: &[PackPieces]) -> Result<(), StoreError> {
        if packs.is_empty() {
            return Ok(());
        }
        write_run(objects, packs)?;
        for place in packs.iter().flat_map(places) {
            let (hash, place) =
                place.map_err(|what| StoreError::Object { path: objects.path(RUNS), what })?;
            self.take(hash, place);
        }
        Ok(())
    }

    /// Where a piece is; `None` if the store does not have it.
    pub fn place(&self, hash: &blake3::Hash) -> Option<&Place> {
        self.places.get(hash)
    }

    /// All pieces.
    pub fn places(&self) -> impl Iterator<Item = (&blake3::Hash, &Place)> {
        self.places.iter()
    }

    /// Why a piece may not be there.
    pub fn why_missing(&self) -> String {
        match self.missing {
            0 => "the store does not have it".into(),
            packs => format!("the store does not have it; packs that the index names are missing: {packs}"),
        }
    }
}
