//! A store to which the checkpoints of a training run are added.

use std::path::Path;
use std::str::FromStr;

use bantam::store::{AddOptions, Location, Store, VersionName};

use super::{Result, print, sizes, store_name};

/// `STORE[#NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointStore {
    store: String,
    name: Option<String>,
}

impl FromStr for CheckpointStore {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let Some((store, name)) = store_name::split(text) else {
            return Ok(Self { store: text.into(), name: None });
        };
        match VersionName::parse(name).map_err(|error| error.to_string())?.version {
            None => Ok(Self { store: store.into(), name: Some(name.into()) }),
            Some(_) => Err("the store numbers versions; leave out what is behind @".into()),
        }
    }
}

impl CheckpointStore {
    /// An error unless checkpoints in this folder can be added.
    pub fn require(&self, checkpoint: &Path) -> Result<()> {
        VersionName::parse(&self.name_of(checkpoint)?)?;
        Store::open(Location::parse(self.store.as_ref())?)?;
        Ok(())
    }

    /// The name that was asked for, or that of the folder, which need not be there yet.
    fn name_of(&self, checkpoint: &Path) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let whole = std::path::absolute(checkpoint)?;
        let name = whole.file_name().and_then(|name| name.to_str());
        Ok(name.ok_or("the output folder has no name for the store; use STORE#NAME")?.into())
    }

    /// Adds a checkpoint as the next version. It is compared to the one before, or to what it looks like.
    pub fn add(&self, checkpoint: &Path) -> Result<()> {
        let mut store = Store::open(Location::parse(self.store.as_ref())?)?;
        let name = self.name_of(checkpoint)?;
        let before = store.version(&VersionName { model: name.clone(), version: None }).ok();
        let base = before.map(|version| VersionName { model: version.model, version: Some(version.number) });
        let options = AddOptions::default().with_name(Some(name)).with_base(base);
        let added = store.add(checkpoint, &options, &())?;
        let (from, to) = (sizes::megabytes(added.original_bytes), sizes::megabytes(added.stored_bytes));
        let (model, number) = (added.version.model, added.version.number);
        print::remark(format_args!("{}: {model}@{number}, {from} added, {to} written", self.store));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_behind_the_last_mark() {
        let parsed = |store: &str, name: Option<&str>| {
            Ok(CheckpointStore { store: store.into(), name: name.map(str::to_string) })
        };
        assert_eq!("a/b".parse(), parsed("a/b", None));
        assert_eq!("a#1/b#org/run".parse(), parsed("a#1/b", Some("org/run")));
        for wrong in ["a#", "a#b c", "a#b@2"] {
            assert!(wrong.parse::<CheckpointStore>().is_err(), "{wrong}");
        }
        let folder = tempfile::tempdir().unwrap();
        let marked = folder.path().join("a#b");
        std::fs::create_dir(&marked).unwrap();
        assert_eq!(marked.to_str().unwrap().parse(), parsed(marked.to_str().unwrap(), None));
    }
}
