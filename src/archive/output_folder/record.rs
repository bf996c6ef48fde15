//! The record in an unfinished folder: the operation, its sources, and how far it has come.
//!
//! It is replaced as a whole, by a rename, and synced, so that it never mixes two states.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::places::{RECORD, is_folder};
use super::stamp::{Stamp, spelled};
use crate::archive::output::OutputFile;
use crate::archive::{ArchiveError, Options};

/// Maximum bytes of a record that is read.
const MAX_RECORD: u64 = 256 << 20;

/// Stage of an unfinished folder, as its record states it. The names are stored on disk, so they must not
/// change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Files are being written. Nothing outside the unfinished folder has changed.
    #[default]
    Filling,
    /// All files are written, and the old model's files are being removed.
    Removing,
    /// The old model's files are gone, and the new ones are being moved into place.
    Moving,
}

/// The operation, the version that runs it, and the source of each shard.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub work: String,
    pub sources: BTreeMap<String, Stamp>,
    #[serde(default, rename = "state")]
    pub stage: Stage,
    /// Set from [`Stage::Removing`] on if the output had weights: then its descriptions are removed too, even
    /// if all of its weights are gone already. Versions that did not know this field omit it.
    #[serde(default)]
    pub had_weights: bool,
}

impl Record {
    /// The record in `unfinished`; an empty one where there is none.
    pub fn read(unfinished: &Path) -> Self {
        let path = unfinished.join(RECORD);
        // Neither a link nor a pipe that another program put there.
        let is_ours = |path: &Path| {
            is_folder(unfinished)
                && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_RECORD)
        };
        let json = is_ours(&path).then(|| fs::read(&path).ok()).flatten();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Replaces the record in `unfinished`, or creates it.
    pub fn write(&self, unfinished: &Path) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let output = OutputFile::create(&unfinished.join(RECORD), &Options::REPLACE, None)?;
        output.sink().put(0, &json.map_err(ArchiveError::io("write", unfinished))?)?;
        output.publish()
    }

    /// Those of `shards` that are finished in `unfinished`, from the same sources and by the same operation.
    pub fn finished(&self, unfinished: &Path, shards: &BTreeMap<PathBuf, Stamp>) -> BTreeSet<PathBuf> {
        let old = Self::read(unfinished);
        if old.work != self.work {
            return BTreeSet::new();
        }
        // A file gets its name only once it is complete and synced.
        let same = |(name, stamp): &(&PathBuf, &Stamp)| {
            old.sources.get(&spelled(name)) == Some(*stamp) && unfinished.join(name).is_file()
        };
        shards.iter().filter(same).map(|(name, _)| name.clone()).collect()
    }
}
