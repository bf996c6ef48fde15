//! A store's objects, wherever they are: created whole and durable, or not at all, and never changed.

/// Does the same to a folder as to a bucket.
macro_rules! either {
    ($kind:expr, $place:ident => $what:expr) => {
        match $kind {
            Kind::Folder($place) => $what,
            #[cfg(feature = "buckets")]
            Kind::Bucket($place) => $what,
        }
    };
}

#[cfg(feature = "buckets")]
mod bucket;
mod folder;
mod location;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::error::StoreError;
#[cfg(feature = "buckets")]
use bucket::Bucket;
pub(super) use folder::sync_folder;
use folder::{Folder, TEMPORARY};
pub use location::Location;

/// Where objects are.
#[derive(Debug, Clone)]
enum Kind {
    Folder(Folder),
    #[cfg(feature = "buckets")]
    Bucket(Bucket),
}

/// The objects of a store.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    kind: Kind,
    /// For how long an object that was created may be missing from lists, and one that was deleted may be in them.
    late: Duration,
}

impl Objects {
    pub fn new(location: Location) -> Self {
        Self { kind: location.0, late: Duration::ZERO }
    }

    /// The same, where lists are late.
    pub fn with_late_lists(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    /// Waits until whatever was created or deleted before is so in every list.
    pub fn wait_for_lists(&self) {
        std::thread::sleep(self.late);
    }

    /// The folder, or the URL.
    pub fn root(&self) -> &Path {
        either!(&self.kind, place => place.root())
    }

    /// The path of an object, to be shown.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        either!(&self.kind, place => place.is_empty())
    }

    /// A file that has no name yet.
    pub fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        either!(&self.kind, place => place.temporary())
    }

    /// Creates an object with these bytes. `false` if there is another one of that name, which stays as it is.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        either!(&self.kind, place => place.create(name, bytes))
    }

    /// Makes an object of a file, durable. `false` if there is one of that name. Nobody else may be about to create an
    /// object of that name.
    pub fn give_name(&self, name: &str, file: NamedTempFile) -> Result<bool, StoreError> {
        either!(&self.kind, place => place.give_name(name, file))
    }

    /// An object's bytes; `None` if there is no such object.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        either!(&self.kind, place => place.read(name))
    }

    /// `len` bytes of an object from `start` on.
    pub fn read_part(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        either!(&self.kind, place => place.read_part(name, start, len))
    }

    /// Bytes of an object.
    pub fn len(&self, name: &str) -> Result<u64, StoreError> {
        either!(&self.kind, place => place.len(name))
    }

    /// The same; `None` if there is no such object.
    pub fn len_if_there(&self, name: &str) -> Result<Option<u64>, StoreError> {
        StoreError::if_there(self.len(name))
    }

    /// Whether there is an object of this name.
    pub fn exists(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.len_if_there(name)?.is_some())
    }

    /// Deletes an object, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        either!(&self.kind, place => place.remove(name))
    }

    /// When an object was created, by the clock of whoever keeps the objects; `None` if it is gone.
    pub fn modified(&self, name: &str) -> Result<Option<SystemTime>, StoreError> {
        StoreError::if_there(either!(&self.kind, place => place.modified(name)))
    }

    /// The time by the same clock.
    pub fn now(&self) -> Result<SystemTime, StoreError> {
        either!(&self.kind, place => place.now())
    }

    /// The names of all objects in a folder of the store and its sub-folders, sorted.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        either!(&self.kind, place => place.list(folder))
    }

    /// Deletes what was written and never got a name, where it is older than `age`.
    pub fn clean(&self, age: Duration) -> Result<(), StoreError> {
        let now = self.now()?;
        for name in self.list(TEMPORARY)? {
            let is_old = |time| now.duration_since(time).is_ok_and(|since| since >= age);
            if self.modified(&name)?.is_some_and(is_old) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected of objects wherever they are.
    #[track_caller]
    fn require_objects(objects: &Objects) {
        assert!(objects.is_empty().unwrap());
        assert!(objects.create("a/b/c", b"first").unwrap());
        assert!(!objects.is_empty().unwrap());
        assert!(!objects.create("a/b/c", b"second").unwrap());
        assert_eq!(objects.read("a/b/c").unwrap().unwrap(), b"first");
        assert_eq!(objects.read("a/b/d").unwrap(), None);
        assert_eq!((objects.len("a/b/c").unwrap(), objects.len_if_there("a/b/d").unwrap()), (5, None));
        assert_eq!(objects.read_part("a/b/c", 1, 3).unwrap(), b"irs");
        assert_eq!(objects.read_part("a/b/c", 5, 0).unwrap(), b"");
        for (start, len) in [(3, 3), (5, 1), (6, 1), (u64::MAX, 3)] {
            assert!(objects.read_part("a/b/c", start, len).is_err(), "{start} {len}");
        }
        objects.create("a/x", b"").unwrap();
        objects.create("a-/x", b"").unwrap();
        assert_eq!(objects.list("a").unwrap(), ["a/b/c", "a/x"]);
        assert_eq!(objects.list("none").unwrap(), Vec::<String>::new());
        // Large enough to be written in parts.
        let large: Vec<u8> = (0..20 << 20).map(|i: u32| (i ^ (i >> 8)) as u8).collect();
        let file = objects.temporary().unwrap();
        std::io::Write::write_all(&mut file.as_file(), &large).unwrap();
        assert!(objects.give_name("large", file).unwrap());
        assert!(objects.read("large").unwrap().unwrap() == large);
        let middle = 9 << 20;
        assert!(objects.read_part("large", middle as u64, 5000).unwrap() == large[middle..middle + 5000]);
        let now = objects.now().unwrap();
        assert!(now >= objects.modified("large").unwrap().unwrap());
        assert_eq!(objects.modified("none").unwrap(), None);
        objects.clean(Duration::ZERO).unwrap();
        assert_eq!(objects.list(TEMPORARY).unwrap(), Vec::<String>::new());
        for _ in 0..2 {
            objects.remove("large").unwrap();
            assert!(!objects.exists("large").unwrap());
        }
        assert!(objects.exists("a/x").unwrap());
    }

    #[test]
    fn folders_have_objects() {
        let root = tempfile::tempdir().unwrap();
        require_objects(&Objects::new(Location::from(&root.path().join("deep/store"))));
    }

    #[test]
    #[cfg(feature = "buckets")]
    fn buckets_have_objects() {
        let memory = std::sync::Arc::new(object_store::memory::InMemory::new());
        let bucket = Location::bucket(memory, "deep/store", "memory://deep/store").unwrap();
        require_objects(&Objects::new(bucket));
    }
}
