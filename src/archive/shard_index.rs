//! Shard indexes, and which files make up a model.
//!
//! `model.safetensors.index.json` says which file each tensor is in, by the original files' names. It is not
//! changed when these files are compressed: [`names::find_shard`] finds a file in either form. Folders of
//! other kinds of models have such indexes under other names, `X.safetensors.index.json` for the files of
//! `X`.
//!
//! Every operation refuses a folder with more than one set of weights: one that has both forms of a file, or
//! one with an index and other files that would be the model if there were no index.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ArchiveError, names, python_json};

/// Suffix of every shard index's name.
const END: &str = ".safetensors.index.json";

/// Maximum bytes of a shard index that is read.
const MAX_LEN: u64 = 256 << 20;

/// A shard index.
pub(super) struct ShardIndex {
    /// Its path.
    pub path: PathBuf,
    /// The file that holds each tensor.
    pub weight_map: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Json {
    weight_map: HashMap<String, String>,
}

impl ShardIndex {
    /// Reads the index at `path`. Names that lead out of its folder are refused.
    fn read(path: PathBuf) -> Result<Self, ArchiveError> {
        let wrong = |what: String| ArchiveError::Model { path: path.clone(), what };
        let meta = fs::metadata(&path).map_err(ArchiveError::io("read", &path))?;
        // Reading a pipe would block.
        if !meta.is_file() || meta.len() > MAX_LEN {
            return Err(wrong(format!(
                "not a valid shard index: not a regular file of at most {MAX_LEN} bytes"
            )));
        }
        let json = fs::read_to_string(&path).map_err(ArchiveError::io("read", &path))?;
        let Json { weight_map } =
            python_json::read(&json).map_err(|e| wrong(format!("not a valid shard index: {e}")))?;
        let leads_out =
            |name: &&String| Path::new(name).file_name() != Some(name.as_ref()) || name.contains('\\');
        match weight_map.values().find(leads_out) {
            Some(name) => Err(wrong(format!("{name:?} is not the name of a file in this folder"))),
            None => Ok(Self { path, weight_map }),
        }
    }

    /// The files that the index names, sorted and without duplicates.
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(|name| &name[..]).collect()
    }

    /// Those that are missing in both forms from `folder`, whose tensor files are `names`.
    pub fn missing<'a>(
        &'a self,
        folder: &'a Path,
        names: &'a BTreeSet<&str>,
    ) -> impl Iterator<Item = String> + 'a {
        let is_there = |name: &str| {
            names.contains(name)
                || names::compressed_name(name).is_some_and(|name| names.contains(&name[..]))
                || folder.join(name).is_file()
        };
        self.shards().into_iter().filter(move |name| !is_there(name)).map(String::from)
    }

    /// The error that the index names a missing file.
    pub fn lacks(&self, name: &str) -> ArchiveError {
        let what = format!("names {name}, which is not in the folder, compressed or not");
        ArchiveError::Model { path: self.path.clone(), what }
    }

    /// Whether the file `name` would be the model or a part of it if there were no index.
    fn is_rival(&self, name: &str) -> bool {
        let original = names::original_name(name);
        let original = original.as_deref().unwrap_or(name);
        let own = self.path.file_name().unwrap_or_default().to_string_lossy();
        own.strip_suffix(END).is_some_and(|stem| is_set_of(stem, original))
            && !self.weight_map.values().any(|shard| shard == original)
    }
}

/// Whether `name` is `stem.safetensors` or `stem-00001-of-00002.safetensors`.
fn is_set_of(stem: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(names::PLAIN)) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
    rest.is_empty() || numbers.is_some_and(|(number, of)| is_number(number) && is_number(of))
}

/// Whether `name` is the usual name of a model's weights file or shard index.
pub(super) fn is_of_a_set(name: &str) -> bool {
    let original = names::original_name(name);
    let original = original.as_deref().unwrap_or(name);
    is_list(name) || STEMS.iter().any(|stem| is_set_of(stem, original))
}

/// Whether `name` is the name of a shard index.
pub(super) fn is_list(name: &str) -> bool {
    name.ends_with(END)
}

/// Usual stems of the names of weights files.
const STEMS: [&str; 2] = ["model", "diffusion_pytorch_model"];

/// The index [`names::SHARD_INDEX`] of `folder`, if there is one.
pub(super) fn of(folder: &Path) -> Result<Option<ShardIndex>, ArchiveError> {
    let path = folder.join(names::SHARD_INDEX);
    // A broken link counts too; reading it reports the error.
    match fs::symlink_metadata(&path).is_ok() {
        true => ShardIndex::read(path).map(Some),
        false => Ok(None),
    }
}

/// All shard indexes of `folder`, sorted by name.
pub(super) fn all_in(folder: &Path) -> Result<Vec<ShardIndex>, ArchiveError> {
    let refused = || ArchiveError::io("read the folder", folder);
    let entries = fs::read_dir(folder).map_err(refused())?;
    let entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(refused())?;
    let is_list = |path: &PathBuf| is_list(&path.to_string_lossy()) && !path.is_dir();
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(is_list).collect();
    paths.sort();
    paths.into_iter().map(ShardIndex::read).collect()
}

/// Returns an error if `names`, the tensor files of `folder`, are more than one set of weights.
pub(super) fn refuse_several_sets(folder: &Path, names: &BTreeSet<&str>) -> Result<(), ArchiveError> {
    for &plain in names {
        if let Some(compressed) = names::compressed_name(plain).filter(|name| names.contains(&name[..])) {
            return Err(several(folder, plain, &compressed));
        }
    }
    for index in all_in(folder)? {
        if let Some(rival) = names.iter().find(|name| index.is_rival(name)) {
            let list = index.path.file_name().unwrap_or_default().to_string_lossy();
            return Err(several(folder, rival, &format!("the files that {list} names")));
        }
    }
    Ok(())
}

/// The error that a folder has two sets of weights.
pub(super) fn several(folder: &Path, one: &str, other: &str) -> ArchiveError {
    ArchiveError::SeveralSets { folder: folder.into(), one: one.into(), other: other.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_set_are_told_by_their_names() {
        for name in ["model.safetensors", "model-00001-of-00002.safetensors", "model-1-of-12.safetensors"] {
            assert!(is_set_of("model", name), "{name}");
        }
        for name in
            ["consolidated.safetensors", "model-fp16.safetensors", "model-1-of-.safetensors", "model.gguf"]
        {
            assert!(!is_set_of("model", name), "{name}");
        }
        assert!(is_of_a_set("model.bantam.safetensors") && is_of_a_set("model.safetensors.index.json"));
        assert!(!is_of_a_set("adapter_model.safetensors"));
    }
}
