//! Collecting what no version needs any more.
//!
//! Any number of collectors, writers and readers may work at once. `docs/store.md` has the rules, and
//! `tests/store/protocol` has every order of their steps tried.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use super::condemned::Condemned;
use super::error::StoreError;
use super::index;
use super::objects::{Location, Objects};
use super::pack::{PackPieces, PacksWriter};
use super::session::{self, Session, Sessions};
use super::store::Store;
use super::survey::Survey;
use crate::archive::{Progress, reported};

/// How often what is left is looked at once more: another collector, or a clock that is wrong, must not keep one from its
/// end.
const ROUNDS: usize = 8;

/// How what is not needed is collected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GcOptions {
    /// How long a session may be silent before it is ended: its writer, if it should still live, gets an error then.
    pub expire: Duration,
}

impl Default for GcOptions {
    /// A day.
    fn default() -> Self {
        Self { expire: Duration::from_secs(24 * 60 * 60) }
    }
}

setters!(GcOptions { expire: Duration => with_expire });

/// What collecting did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Number of packs that were deleted.
    pub deleted_packs: usize,
    /// Bytes of these.
    pub deleted_bytes: u64,
    /// Bytes of what they had that is still needed, and was written to new packs.
    pub kept_bytes: u64,
    /// Number of packs that will be deleted once the open sessions have ended.
    pub waiting_packs: usize,
    /// Those sessions.
    pub open_sessions: Vec<String>,
    /// Sessions that were ended because they were silent for too long.
    pub expired_sessions: Vec<String>,
}

impl Store {
    /// Deletes what no version needs any more. Packs of which less than half is needed are deleted as a whole, after
    /// the rest was written to new ones. Packs that a writer may be about to use wait until its session has ended:
    /// collect again then. Where anything that could need something cannot be read, nothing is deleted.
    pub fn gc(
        at: impl Into<Location>,
        options: &GcOptions,
        progress: &dyn Progress,
    ) -> Result<Collected, StoreError> {
        Self::collect(&Self::objects(at)?, options, progress)
    }

    pub(super) fn collect(
        objects: &Objects,
        options: &GcOptions,
        progress: &dyn Progress,
    ) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        session::settle(objects)?;
        collected.expired_sessions = expire(objects, options.expire)?;
        if Sessions::read(objects)?.open.is_empty() {
            objects.clean(options.expire)?;
        }
        for record in Condemned::read(objects)? {
            collected.delete(objects, &record, progress)?;
        }
        Condemned::clean(objects)?;
        // When differences are gone, so are the reasons to keep their bases alone.
        for _ in 0..ROUNDS {
            let condemned = without_young(objects, Survey::take(objects)?.mostly_dead())?;
            if condemned.is_empty() {
                break;
            }
            let record = Condemned::create(objects, condemned)?;
            collected.delete(objects, &record, progress)?;
        }
        Ok(collected)
    }
}

/// Ends sessions that are older than `limit`, by the store's clock.
fn expire(objects: &Objects, limit: Duration) -> Result<Vec<String>, StoreError> {
    let now = objects.now()?;
    let mut expired = Vec::new();
    for id in Sessions::read(objects)?.open {
        if session::age(objects, &id, now)?.is_some_and(|age| age >= limit) {
            session::expire(objects, &id)?;
            expired.push(id);
        }
    }
    Ok(expired)
}

/// Leaves out packs that are younger than a session that is open: they may be its own, and be needed soon. It would be
/// no harm to condemn them, but work for nothing.
fn without_young(objects: &Objects, packs: Vec<String>) -> Result<Vec<String>, StoreError> {
    let mut began = Vec::new();
    for id in Sessions::read(objects)?.open {
        began.extend(session::began(objects, &id)?);
    }
    let Some(first) = began.into_iter().min() else { return Ok(packs) };
    let mut old = Vec::new();
    for pack in packs {
        if objects.modified(&pack)?.is_some_and(|time| time < first) {
            old.push(pack);
        }
    }
    Ok(old)
}

impl Collected {
    /// Deletes the packs of a record, unless a session is open that may use them.
    fn delete(
        &mut self,
        objects: &Objects,
        record: &Condemned,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let open = record.open_sessions(objects)?;
        if !open.is_empty() {
            self.waiting_packs += record.packs.len();
            self.open_sessions.extend(open);
            self.open_sessions.sort();
            self.open_sessions.dedup();
            return Ok(());
        }
        let packs: HashSet<&str> = record.packs.iter().map(String::as_str).collect();
        let survey = self.keep(objects, &packs, progress)?;
        take_from_index(objects, &survey, &packs)?;
        for pack in &record.packs {
            if let Some(bytes) = objects.len_if_there(pack)? {
                objects.remove(pack)?;
                self.deleted_packs += 1;
                self.deleted_bytes += bytes;
            }
        }
        // Whoever sees the record no more must not see the packs.
        objects.wait_for_lists();
        record.forget(objects)
    }

    /// Writes what is needed and in none but condemned packs to new ones. Gives what was needed then.
    fn keep(
        &mut self,
        objects: &Objects,
        packs: &HashSet<&str>,
        progress: &dyn Progress,
    ) -> Result<Survey, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            // A session that is not in the list any more may have made a version that is not yet.
            objects.wait_for_lists();
            let survey = Survey::take(objects)?;
            match self.keep_of(objects, &survey, packs, progress) {
                // Another collector has written it elsewhere, and deleted the pack.
                Err(StoreError::Io { source, .. })
                    if source.kind() == ErrorKind::NotFound && tries < ROUNDS => {}
                kept => return kept.map(|()| survey),
            }
        }
    }

    fn keep_of(
        &mut self,
        objects: &Objects,
        survey: &Survey,
        packs: &HashSet<&str>,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let kept = survey.only_in(packs);
        if kept.is_empty() {
            return Ok(());
        }
        // Whoever condemns a new pack, which nothing refers to yet, waits for this.
        let session = Session::begin(objects)?;
        let store = Store::read(objects.clone())?;
        let bytes = kept.iter().fold(0u64, |sum, (_, place)| sum.saturating_add(place.bytes));
        let mut new = PacksWriter::default();
        reported(progress, bytes, "keeping", || {
            for (hash, place) in &kept {
                if progress.cancelled() {
                    return Err(StoreError::Cancelled);
                }
                let payload = store.read_payload(hash, place)?;
                new.add(objects, *hash, place.bytes as usize, &payload, place.base)?;
                progress.advance(place.bytes);
            }
            Ok(())
        })?;
        index::write_run(objects, &new.finish(objects)?)?;
        session.keep()?;
        self.kept_bytes += kept.iter().map(|(_, place)| place.length).sum::<u64>();
        session.close()
    }
}

/// Writes runs that name `packs` anew without them. What is left of a run is durable before it goes.
fn take_from_index(objects: &Objects, survey: &Survey, packs: &HashSet<&str>) -> Result<(), StoreError> {
    for run in &survey.runs {
        if run.packs.iter().all(|packed| !packs.contains(&*packed.pack)) {
            continue;
        }
        let rest = run.packs.iter().filter(|packed| !packs.contains(&*packed.pack));
        let rest: Vec<PackPieces> = rest.cloned().collect();
        if !rest.is_empty() {
            index::write_run(objects, &rest)?;
        }
        objects.remove(&run.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::add::AddOptions;
    use super::super::manifest::{Manifest, ManifestFile};
    use super::super::name::VersionName;
    use super::super::session::Commit;
    use super::*;

    /// A model of one tensor, a third of whose elements are moved by `step`, another third by twice that.
    fn write_model(folder: &Path, step: u16) {
        let element = |i: u16| 0x3d00 + i.wrapping_mul(40_503) % 0x0300 + step * (i % 3);
        let bytes: Vec<u8> = (0..8192).flat_map(|i| element(i).to_le_bytes()).collect();
        let tensor =
            safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![128, 64], &bytes).unwrap();
        fs::create_dir_all(folder).unwrap();
        safetensors::serialize_to_file([("weight", tensor)], None, &folder.join("model.safetensors"))
            .unwrap();
    }

    /// The difference is in a pack that is not condemned, but its base is, and nobody needs either.
    #[test]
    fn a_writer_uses_no_difference_to_what_is_condemned() {
        let place = tempfile::tempdir().unwrap();
        let mut store = Store::init(&place.path().join("store")).unwrap();
        let objects = store.objects.clone();
        let add = |store: &mut Store, name: &str| {
            store.add(&place.path().join(name), &AddOptions::default(), &()).unwrap().stored_bytes
        };
        for (name, step) in [("base", 0), ("tuned", 1)] {
            write_model(&place.path().join(name), step);
            add(&mut store, name);
        }
        let base = store.index.places().find_map(|(_, place)| place.base).expect("a difference");
        let pack = store.index.place(&base).unwrap().pack.to_string();
        for name in ["base", "tuned"] {
            store.remove(name).unwrap();
        }
        let record = Condemned::create(&objects, vec![pack]).unwrap();
        assert!(record.open_sessions(&objects).unwrap().is_empty());
        // A collector that looked before this version was there keeps no base for it.
        assert!(add(&mut store, "tuned") > 8192, "it is stored again, alone");
        let mut collected = Collected::default();
        collected.delete(&objects, &record, &()).unwrap();
        assert_eq!(collected.deleted_packs, 1);
        let out = place.path().join("out");
        store.get(&VersionName::parse("tuned").unwrap(), &out, false, &()).unwrap();
        let file = "model.safetensors";
        assert!(
            fs::read(out.join(file)).unwrap() == fs::read(place.path().join("tuned").join(file)).unwrap()
        );
    }

    /// Collectors that die leave nothing for ever.
    #[test]
    fn what_dead_collectors_left_goes() {
        let root = tempfile::tempdir().unwrap();
        let objects = Store::init(root.path()).unwrap().objects;
        // One has taken the record away. Another had read it before, and dies when it has listed the sessions.
        let record = Condemned::create(&objects, vec![format!("packs/ab/{}", "ab".repeat(16))]).unwrap();
        record.forget(&objects).unwrap();
        record.open_sessions(&objects).unwrap();
        // One dies before it takes away its session, and one while it does.
        for gone in [false, true] {
            let session = Session::begin(&objects).unwrap();
            session.keep().unwrap();
            if gone {
                objects.remove(&format!("sessions/{}", session.id())).unwrap();
            }
        }
        let left = || ["condemned", "sessions"].map(|name| objects.list(name).unwrap().len());
        assert_eq!(left(), [1, 3]);
        Store::gc(root.path(), &GcOptions::default(), &()).unwrap();
        assert_eq!(left(), [0, 0]);
    }

    /// A writer may die between its commit and what follows.
    #[test]
    fn commits_without_a_version_get_one() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::init(root.path()).unwrap();
        let file = |path: &str| {
            let (path, blake3) = (path.to_string(), blake3::hash(b"").to_hex().to_string());
            ManifestFile { path, bytes: 0, blake3, outside: Vec::new(), tensors: Vec::new() }
        };
        let commit = |path: &str| {
            let manifest = Manifest::new(vec![file(path)]).write(&store.objects).unwrap();
            Commit { model: "m".into(), manifest }
        };
        let session = Session::begin(&store.objects).unwrap();
        session.commit(&commit("a")).unwrap();
        drop(session);
        Store::gc(root.path(), &GcOptions::default(), &()).unwrap();
        // Others got as far as its version, or had added it again.
        for path in ["b", "b"] {
            let session = Session::begin(&store.objects).unwrap();
            session.commit(&commit(path)).unwrap();
            session::give_version(&store.objects, session.id(), &commit(path)).unwrap();
            drop(session);
        }
        for _ in 0..2 {
            Store::gc(root.path(), &GcOptions::default(), &()).unwrap();
            let numbers: Vec<u32> = store.list().unwrap().iter().map(|version| version.number).collect();
            assert_eq!(numbers, [1, 2]);
            assert!(store.objects.list("sessions").unwrap().is_empty());
        }
    }
}
