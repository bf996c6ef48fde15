//! The contents of an output, and the files that they supersede.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::places::{is_folder, is_own, is_there, names_in};
use crate::archive::shard_index::{self, is_of_a_set};
use crate::archive::{ArchiveError, names};

/// Non-weight files that belong to one model, and would be wrong next to another model's weights.
const DESCRIPTIONS: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
];

/// The future contents of a folder. All paths are relative to it.
#[derive(Debug, Default)]
pub struct Contents {
    /// Files and links.
    pub files: BTreeSet<PathBuf>,
    /// Sub-folders, without the folder itself.
    pub folders: BTreeSet<PathBuf>,
}

/// Existing files that are removed before the new ones are moved into place.
#[derive(Debug, Default)]
pub struct Superseded {
    /// In order of removal. Weights are first and shard indexes last, because the indexes tell which model
    /// some weights belong to. So the remaining files can be found again after an interruption.
    pub files: Vec<PathBuf>,
    /// Whether the output has or had weights.
    pub has_weights: bool,
}

impl Contents {
    /// The contents of `unfinished`.
    pub fn of(unfinished: &Path) -> Result<Self, ArchiveError> {
        let mut contents = Self::default();
        let mut unread = vec![PathBuf::new()];
        while let Some(folder) = unread.pop() {
            for name in names_in(&unfinished.join(&folder))?.into_iter().filter(|name| !is_own(name)) {
                let name = folder.join(name);
                if is_folder(&unfinished.join(&name)) {
                    contents.folders.insert(name.clone());
                    unread.push(name);
                } else {
                    contents.files.insert(name);
                }
            }
        }
        Ok(contents)
    }

    /// The files in the order in which they are moved: weights before indexes and descriptions, without which
    /// other programs find no model.
    pub fn in_order(&self) -> impl Iterator<Item = &PathBuf> {
        let is_last = |name: &&PathBuf| {
            let own = name.file_name().unwrap_or_default().to_string_lossy();
            shard_index::is_list(&own) || DESCRIPTIONS.contains(&&*own)
        };
        let (last, first): (Vec<_>, Vec<_>) = self.files.iter().partition(is_last);
        first.into_iter().chain(last)
    }

    /// The files in `path` of the model that these contents replace. `had_weights` says that an earlier run
    /// found weights there and may have removed them. An error if something cannot be replaced.
    pub fn superseded(&self, path: &Path, had_weights: bool) -> Result<Superseded, ArchiveError> {
        self.refuse_in_the_way(path)?;
        let (mut weights, mut descriptions, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        let folders = std::iter::once(Path::new("")).chain(self.folders.iter().map(PathBuf::as_path));
        for folder in folders.filter(|folder| is_folder(&path.join(folder))) {
            let here = path.join(folder);
            let listed = shard_index::all_in(&here).unwrap_or_default();
            for name in names_in(&here)? {
                let (at, text) = (folder.join(&name), name.to_string_lossy());
                if is_own(&name) || is_folder(&here.join(&name)) {
                    continue;
                }
                let original = names::original_name(&text).unwrap_or_else(|| text.to_string());
                let is_listed = || listed.iter().any(|list| list.shards().contains(&original[..]));
                if shard_index::is_list(&text) {
                    lists.push(at);
                } else if is_of_a_set(&text) || self.has_a_form_of(folder, &name, &original) || is_listed() {
                    weights.push(at);
                } else if names::is_tensor_file(&text) {
                    return Err(ArchiveError::WhoseWeights { path: path.join(at) });
                } else if DESCRIPTIONS.contains(&&*text) {
                    descriptions.push(at);
                }
            }
        }
        let has_weights = had_weights || !weights.is_empty() || !lists.is_empty();
        if !has_weights {
            descriptions.clear();
        }
        Ok(Superseded { files: [weights, descriptions, lists].concat(), has_weights })
    }

    /// Returns an error if `path` has a folder where a file is needed, or the reverse.
    fn refuse_in_the_way(&self, path: &Path) -> Result<(), ArchiveError> {
        let is_no_folder = |name: &Path| !is_folder(&path.join(name)) && is_there(&path.join(name));
        let file = self.files.iter().find(|name| is_folder(&path.join(name)));
        match file.or_else(|| self.folders.iter().find(|name| is_no_folder(name))) {
            Some(name) => Err(ArchiveError::InTheWay { path: path.join(name) }),
            None => Ok(()),
        }
    }

    /// Whether the contents include the tensor file `name` in `folder`, or its other form.
    fn has_a_form_of(&self, folder: &Path, name: &OsStr, original: &str) -> bool {
        let compressed = names::compressed_name(original);
        let forms = [Some(name.into()), Some(original.into()), compressed.map(OsString::from)];
        names::is_tensor_file(&name.to_string_lossy())
            && forms.iter().flatten().any(|form| self.files.contains(&folder.join(form)))
    }
}
