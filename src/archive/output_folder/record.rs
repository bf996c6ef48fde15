//! The record in an unfinished folder: what is being done, from which sources, and how far it has come.
//!
//! It is replaced as a whole, by a rename, and synced, so that it is never half of one state and half of another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::places::{RECORD, is_folder};
use super::stamp::{Stamp, spelled};
use crate::archive::output::OutputFile;
use crate::archive::{ArchiveError, Options};

/// Bytes of the longest record that is read.
const MAX_RECORD: u64 = 256 << 20;

/// How far an unfinished folder has come, as its record says. The names are on disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Files are made. Nothing outside of the unfinished folder has changed.
    #[default]
    Filling,
    /// All files are made, and the old model's are being removed.
    Removing,
    /// The old model's files are gone, and the new ones are moved to their places.
    Moving,
}

/// What is being done, by which version, and from which source each shard is made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub work: String,
    pub sources: BTreeMap<String, Stamp>,
    #[serde(default, rename = "state")]
    pub stage: Stage,
    /// From [`Stage::Removing`] on: the output had weights, so its descriptions go too, even if all of its weights
    /// are gone already. Versions that did not know this field leave it out.
    #[serde(default)]
    pub had_weights: bool,
}

impl Record {
    /// The record in `unfinished`; an empty one where there is none.
    pub fn read(unfinished: &Path) -> Self {
        let path = unfinished.join(RECORD);
        // Nobody's link, nor a pipe that somebody has put there.
        let is_ours = |path: &Path| {
            is_folder(unfinished)
                && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_RECORD)
        };
        let json = is_ours(&path).then(|| fs::read(&path).ok()).flatten();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Puts this in the place of the record in `unfinished`, if there is one.
    pub fn write(&self, unfinished: &Path) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let output = OutputFile::create(&unfinished.join(RECORD), &Options::REPLACE, None)?;
        output.sink().put(0, &json.map_err(ArchiveError::io("write", unfinished))?)?;
        output.publish()
    }

    /// Those of `shards` that are in `unfinished`, finished, and made from the same sources by the same work.
    pub fn finished(&self, unfinished: &Path, shards: &BTreeMap<PathBuf, Stamp>) -> BTreeSet<PathBuf> {
        let old = Self::read(unfinished);
        if old.work != self.work {
            return BTreeSet::new();
        }
        // A file has its name only once it is complete and on the disk.
        let same = |(name, stamp): &(&PathBuf, &Stamp)| {
            old.sources.get(&spelled(name)) == Some(*stamp) && unfinished.join(name).is_file()
        };
        shards.iter().filter(same).map(|(name, _)| name.clone()).collect()
    }
}
