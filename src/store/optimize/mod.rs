//! Planning anew which models others are stored as differences to.
//!
//! A model that is added is compared to what is there. When all of a family are there, another base may be better: the
//! original that came after its fine-tunes, or what lies in their middle. Pieces are then stored a second time, as the
//! difference to the new base, or alone; and what they were before is collected.

mod centers;
mod families;
mod family;
mod recode;
mod values;
mod wanted;

use std::collections::{HashMap, HashSet};

use self::families::Looks;
use self::family::{Family, sampled_bytes};
use self::recode::recode;
use self::wanted::{Wanted, superseded, want};
use super::condemned::Condemned;
use super::error::StoreError;
use super::gc::{Collected, GcOptions};
use super::index::Index;
use super::manifest::Manifest;
use super::objects::{Location, Objects};
use super::pack::PACKS;
use super::session::{self, Session};
use super::store::Store;
use super::survey::Survey;
use crate::archive::{Progress, reported};

/// What planning anew did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Optimized {
    /// Number of families: models that look alike, of which there are several.
    pub families: usize,
    /// Number of families for which other bases are better.
    pub changed_families: usize,
    /// Number of pieces that were stored in another way.
    pub recoded_pieces: usize,
    /// Bytes of all packs before.
    pub before_bytes: u64,
    /// Bytes of all packs after.
    pub after_bytes: u64,
    /// What was deleted, or will be once the open sessions have ended.
    pub collected: Collected,
}

impl Store {
    /// Looks for better bases in each family of the store at `path`, stores pieces anew where that takes fewer bytes, and
    /// collects what is not needed any more. Others may add, read and collect meanwhile. If it is interrupted, the store
    /// is as it was, and perhaps larger until it is done again.
    pub fn optimize(
        at: impl Into<Location>,
        options: &GcOptions,
        progress: &dyn Progress,
    ) -> Result<Optimized, StoreError> {
        let objects = Self::objects(at)?;
        session::settle(&objects)?;
        let mut optimized = Optimized { before_bytes: bytes_of_packs(&objects)?, ..Optimized::default() };
        let session = Session::begin(&objects)?;
        // As for whoever adds: what is condemned after this stays until the session has ended.
        let condemned = Condemned::packs(&Condemned::read(&objects)?);
        let store = Self { index: Index::read(&objects, &condemned)?, objects: objects.clone() };
        let survey = Survey::take(&objects)?;
        let wanted = optimized.plan(&store, &survey, progress)?;
        let done = recode(&store, &survey, &wanted, progress)?;
        optimized.recoded_pieces = done.len();
        session.keep()?;
        session.close()?;
        // Differences go first: as long as they are there, their bases are kept alone.
        let packs = superseded(&Survey::take(&objects)?, &wanted, &done);
        if !packs.is_empty() {
            Condemned::create(&objects, packs)?;
        }
        optimized.collected = Self::collect(&objects, options, progress)?;
        optimized.after_bytes = bytes_of_packs(&objects)?;
        Ok(optimized)
    }
}

impl Optimized {
    /// What pieces are to be differences to, in all families.
    fn plan(
        &mut self,
        store: &Store,
        survey: &Survey,
        progress: &dyn Progress,
    ) -> Result<HashMap<blake3::Hash, Wanted>, StoreError> {
        let names: HashSet<String> = store.list()?.into_iter().map(|version| version.manifest).collect();
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        let (mut looks, mut sampled) = (Vec::new(), Vec::new());
        for name in &names {
            let manifest = Manifest::read(&store.objects, name)?;
            looks.push(Looks::of(&manifest));
            sampled.push(sampled_bytes(&manifest));
        }
        let families = families::families(&looks);
        self.families = families.len();
        let bytes =
            families.iter().flatten().fold(0, |sum, &number| u64::saturating_add(sum, sampled[number]));
        let mut wanted =
            reported(progress, bytes, "comparing", || self.want(store, survey, &names, &families, progress))?;
        // What others are compared to is stored alone.
        let bases: HashSet<blake3::Hash> = wanted.values().map(|wanted: &Wanted| wanted.base).collect();
        wanted.retain(|hash, _| !bases.contains(hash));
        Ok(wanted)
    }

    /// What is to be differences to what, as each family for itself would have it.
    fn want(
        &mut self,
        store: &Store,
        survey: &Survey,
        names: &[String],
        families: &[Vec<usize>],
        progress: &dyn Progress,
    ) -> Result<HashMap<blake3::Hash, Wanted>, StoreError> {
        let mut wanted = HashMap::new();
        for members in families {
            let manifests = members.iter().map(|&number| Manifest::read(&store.objects, &names[number]));
            let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
            let manifests: Vec<&Manifest> = manifests.iter().collect();
            let (bases, are_new) = Family::read(store, &manifests, progress)?.bases(survey)?;
            self.changed_families += usize::from(are_new);
            want(&mut wanted, &manifests, &bases, are_new)?;
        }
        Ok(wanted)
    }
}

fn bytes_of_packs(objects: &Objects) -> Result<u64, StoreError> {
    let mut bytes = 0u64;
    for pack in objects.list(PACKS)? {
        bytes = bytes.saturating_add(objects.len_if_there(&pack)?.unwrap_or(0));
    }
    Ok(bytes)
}
