//! Writes that fail, for tests: a full disk, or access that is denied, at any of them.

/// Called before each write to the store. Only tests make it fail.
#[cfg(not(test))]
#[inline]
pub(super) fn strike() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use testing::strike;

#[cfg(test)]
pub(super) mod testing {
    use std::cell::Cell;
    use std::io;

    /// What happens to the writes of a thread.
    #[derive(Clone, Copy)]
    struct Fate {
        /// Writes that succeed before all others fail.
        good: usize,
        kind: io::ErrorKind,
        has_failed: bool,
    }

    thread_local! {
        static FATE: Cell<Option<Fate>> = const { Cell::new(None) };
    }

    pub(in super::super) fn strike() -> io::Result<()> {
        let Some(fate) = FATE.get() else { return Ok(()) };
        let (good, fails) = (fate.good.saturating_sub(1), fate.good == 0);
        FATE.set(Some(Fate { good, has_failed: fate.has_failed || fails, ..fate }));
        if fails { Err(fate.kind.into()) } else { Ok(()) }
    }

    /// Runs `work` on this thread with all writes but the first `good` failing. Also says whether any did.
    pub fn with_writes<T>(good: usize, kind: io::ErrorKind, work: impl FnOnce() -> T) -> (T, bool) {
        FATE.set(Some(Fate { good, kind, has_failed: false }));
        let result = work();
        (result, FATE.take().is_some_and(|fate| fate.has_failed))
    }

    mod tests {
        use std::fs;
        use std::path::{Path, PathBuf};

        use super::with_writes;
        use crate::store::objects::Objects;
        use crate::store::{AddOptions, GcOptions, Share, Store, StoreError, VersionName};

        /// A model of a few tensors, made from `seed` and moved by `step`.
        fn model(folder: &Path, seed: u64, step: f32) {
            let mut state = seed;
            let mut random = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
            };
            let weights: Vec<f32> = (0..8192).map(|_| random()).collect();
            let mut offset = 7u32;
            let mut moved = |weight: f32| {
                offset = offset.wrapping_mul(747_796_405).wrapping_add(1);
                weight + step * (offset >> 8) as f32 / (1u32 << 24) as f32
            };
            let bytes = weights.iter().flat_map(|w| half::bf16::from_f32(moved(*w)).to_bits().to_le_bytes());
            let bytes: Vec<u8> = bytes.collect();
            let header =
                format!(r#"{{"w":{{"dtype":"BF16","shape":[64,128],"data_offsets":[0,{}]}}}}"#, bytes.len());
            let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes].concat();
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("model.safetensors"), file).unwrap();
            fs::write(folder.join("words.txt"), "the same in all of them").unwrap();
            fs::write(folder.join("config.json"), format!("{{\"seed\": {seed}}}")).unwrap();
        }

        struct Place(tempfile::TempDir);

        impl Place {
            fn at(&self, name: &str) -> PathBuf {
                self.0.path().join(name)
            }

            fn add(&self, name: &str) -> Result<(), StoreError> {
                let mut store = Store::open(&self.at("store"))?;
                store.add(&self.at(name), &AddOptions::default(), &()).map(drop)
            }

            /// Nothing is wrong, and all that is listed comes back.
            #[track_caller]
            fn require_whole(&self, what: &str) -> Vec<String> {
                let store = self.at("store");
                let check = Store::check(&store, Some(Share::ALL), &()).unwrap();
                assert!(check.failures.is_empty(), "{what}: {check:?}");
                let opened = Store::open(&store).unwrap();
                let mut names = Vec::new();
                for version in opened.list().unwrap() {
                    let out = self.at("out");
                    let name = VersionName::parse(&version.model).unwrap();
                    opened.get(&name, &out, false, &()).unwrap();
                    for file in ["model.safetensors", "config.json", "words.txt"] {
                        let from = self.at(&version.model).join(file);
                        assert!(fs::read(out.join(file)).unwrap() == fs::read(from).unwrap(), "{what}");
                    }
                    fs::remove_dir_all(out).unwrap();
                    names.push(version.model);
                }
                names
            }
        }

        fn place() -> Place {
            let place = Place(tempfile::tempdir().unwrap());
            for (name, seed, step) in [("base", 1, 0.0), ("tuned", 1, 0.01), ("other", 2, 0.0)] {
                model(&place.at(name), seed, step);
            }
            Store::init(&place.at("store")).unwrap();
            place.add("base").unwrap();
            place
        }

        /// Tries `work` with the first, the second, and every further write failing, until none does.
        #[track_caller]
        fn at_every_write(place: &Place, what: &str, work: impl Fn() -> Result<(), StoreError>) {
            let mut tried = 0;
            for good in 0..10_000 {
                let kind = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::PermissionDenied][good % 2];
                let (result, struck) = with_writes(good, kind, &work);
                place.require_whole(what);
                match result {
                    Ok(()) if !struck => break,
                    // What follows a commit may fail: the next collector does it.
                    Ok(()) => {}
                    Err(error) => {
                        let named = matches!(&error, StoreError::Io { source, .. } if source.kind() == kind);
                        assert!(named, "{what}, write {good}: {error:?}");
                    }
                }
                tried += 1;
            }
            assert!(tried > 3, "{what}: {tried} writes");
        }

        #[test]
        fn a_full_disk_at_any_write_loses_nothing() {
            let place = place();
            let store = place.at("store");
            let options = GcOptions::default().with_expire(std::time::Duration::ZERO);
            at_every_write(&place, "add", || place.add("tuned"));
            assert_eq!(place.require_whole("added"), ["base", "tuned"]);
            place.add("other").unwrap();
            for name in ["base", "tuned"] {
                at_every_write(&place, "rm", || match Store::open(&store)?.remove(name) {
                    Err(StoreError::NoSuchModel { .. }) => Ok(()),
                    done => done,
                });
            }
            // Two packs go, and the words that all models have are kept.
            at_every_write(&place, "gc", || Store::gc(&store, &options, &()).map(drop));
            assert_eq!(place.require_whole("collected"), ["other"]);
            assert_eq!(Objects::new((&store).into()).list("packs").unwrap().len(), 2);
            // An index that has to be made again.
            for run in fs::read_dir(store.join("index")).unwrap() {
                fs::remove_file(run.unwrap().path()).unwrap();
            }
            let mut good = 0;
            while with_writes(good, std::io::ErrorKind::StorageFull, || Store::repair(&store)).0.is_err() {
                good += 1;
            }
            assert!(good > 2);
            assert_eq!(place.require_whole("repaired"), ["other"]);
        }

        #[test]
        fn a_full_disk_while_bases_are_planned_anew_loses_nothing() {
            let place = Place(tempfile::tempdir().unwrap());
            let store = place.at("store");
            Store::init(&store).unwrap();
            // What they were made from comes last.
            for (name, step) in [("one", 0.01), ("other", -0.01), ("third", 0.02), ("base", 0.0)] {
                model(&place.at(name), 1, step);
                place.add(name).unwrap();
            }
            let options = GcOptions::default().with_expire(std::time::Duration::ZERO);
            at_every_write(&place, "optimize", || Store::optimize(&store, &options, &()).map(drop));
            let done = Store::optimize(&store, &options, &()).unwrap();
            assert_eq!((done.changed_families, done.recoded_pieces, done.collected.deleted_packs), (0, 0, 0));
            assert_eq!(place.require_whole("optimized").len(), 4);
        }

        #[test]
        fn a_full_disk_leaves_no_half_of_what_is_restored() {
            let place = place();
            let opened = Store::open(&place.at("store")).unwrap();
            let (name, out) = (VersionName::parse("base").unwrap(), place.at("restored"));
            let mut good = 0;
            loop {
                let kind = std::io::ErrorKind::StorageFull;
                let (got, struck) = with_writes(good, kind, || opened.get(&name, &out, false, &()));
                if !struck {
                    got.unwrap();
                    break;
                }
                assert!(got.is_err());
                // Only its name may not be durable.
                if out.exists() {
                    assert!(fs::read(out.join("config.json")).unwrap().ends_with(b"1}"));
                    fs::remove_dir_all(&out).unwrap();
                }
                good += 1;
            }
            assert!(good > 3 && out.join("model.safetensors").exists());
        }
    }
}
