//! The contents of a model folder, sub-folders included.
//!
//! Tensor files are recognised by their names; everything else is copied. Links to files are followed,
//! because hub caches consist of them. A link to a folder inside the model folder is kept as a link; a link
//! to a folder outside it is not followed. Nothing unreadable is skipped silently: unreadable weights are an
//! error, and anything else is listed as left out, which makes the command fail at the end. `.git` and what
//! interrupted runs left, recognised by name, are not part of a model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{ArchiveError, hints, names, output_folder, shard_index};

/// Name of a folder, or of a file in its place, that no model needs.
const NO_PART: &str = ".git";

/// A file of tensors in a model folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TensorFile {
    /// Its folder, relative to the model folder; empty for the model folder itself.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
}

impl TensorFile {
    /// Its path, relative to the model folder.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// The contents of a folder, sorted. All paths are relative to that folder.
pub(super) struct ModelFolder {
    /// The folder's path.
    pub path: PathBuf,
    /// Files of tensors, in either form, whether they can be opened or not.
    pub tensor_files: Vec<TensorFile>,
    /// Files that are copied.
    pub others: Vec<PathBuf>,
    /// Sub-folders, each after its parent.
    pub folders: Vec<PathBuf>,
    /// Links to folders inside the folder, with their targets.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Entries that should be copied, but cannot be.
    pub left_out: Vec<PathBuf>,
}

impl ModelFolder {
    /// Reads the folder at `path`, without the output `except` if that is inside it.
    pub fn read(path: &Path, except: Option<&Path>) -> Result<Self, ArchiveError> {
        let mut folder = Self {
            path: path.into(),
            tensor_files: Vec::new(),
            others: Vec::new(),
            folders: Vec::new(),
            links: Vec::new(),
            left_out: Vec::new(),
        };
        let except = except.and_then(|except| except.canonicalize().ok());
        let root = path.canonicalize().map_err(ArchiveError::io("read the folder", path))?;
        let mut unread = vec![PathBuf::new()];
        while let Some(inner) = unread.pop() {
            let here = path.join(&inner);
            let refused = || ArchiveError::io("read the folder", &here);
            output_folder::refuse_unfinished(&here)?;
            for entry in fs::read_dir(&here).map_err(refused())? {
                let name = inner.join(entry.map_err(refused())?.file_name());
                let is_output = || except.is_some() && path.join(&name).canonicalize().ok() == except;
                if folder.add(&root, &name)? && !is_output() {
                    folder.folders.push(name.clone());
                    unread.push(name);
                }
            }
        }
        folder.tensor_files.sort();
        folder.others.sort();
        folder.folders.sort();
        folder.links.sort();
        folder.left_out.sort();
        Ok(folder)
    }

    /// Adds the entry `name` to the list it belongs in. True for a folder that is to be read.
    fn add(&mut self, root: &Path, name: &Path) -> Result<bool, ArchiveError> {
        let path = self.path.join(name);
        let own = name.file_name().unwrap_or_default();
        if output_folder::is_own(own) {
            log::warn!("{}: ignored, because an interrupted run left it", path.display());
            return Ok(false);
        }
        if own == NO_PART {
            log::info!("{}: not part of the model", path.display());
            return Ok(false);
        }
        let itself = fs::symlink_metadata(&path).map_err(ArchiveError::io("look at", &path))?;
        if itself.is_dir() {
            return Ok(true);
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => self.add_link(root, name),
            found => self.add_file(name, found.ok())?,
        }
        Ok(false)
    }

    /// Adds a link to a folder.
    fn add_link(&mut self, root: &Path, name: &Path) {
        let path = self.path.join(name);
        let inside = path.canonicalize().is_ok_and(|to| to.starts_with(root));
        match fs::read_link(&path) {
            Ok(to) if inside && to.is_relative() && cfg!(unix) => self.links.push((name.into(), to)),
            _ => self.leave_out(name, "it is a link to a folder elsewhere"),
        }
    }

    /// Adds an entry that is not a folder; `found` is its metadata, if readable.
    fn add_file(&mut self, name: &Path, found: Option<Metadata>) -> Result<(), ArchiveError> {
        let own = name.file_name().unwrap_or_default();
        let is_file = found.as_ref().is_some_and(Metadata::is_file);
        if names::is_tensor_file(&own.to_string_lossy()) {
            let Some(own) = own.to_str() else {
                let what = "the name of this file of tensors is not UTF-8; give it another".into();
                return Err(ArchiveError::Model { path: self.path.join(name), what });
            };
            let folder = name.parent().unwrap_or(Path::new("")).into();
            self.tensor_files.push(TensorFile { folder, name: own.into() });
        } else if is_file {
            self.others.push(name.into());
        } else if found.is_some() {
            self.leave_out(name, "it is neither a file nor a folder");
        } else {
            self.leave_out(name, "it is a broken link, or a link to a place that cannot be read");
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &Path, why: &str) {
        log::warn!("{}: not copied, because {why}", self.path.join(name).display());
        self.left_out.push(name.into());
    }

    /// Returns an error if there is no tensor file.
    pub fn require_tensors(&self) -> Result<(), ArchiveError> {
        match self.tensor_files.is_empty() {
            true => Err(hints::nothing_in(&self.path, "safetensors or GGUF file")),
            false => Ok(()),
        }
    }

    /// The folder and all its sub-folders, each with the names of its tensor files.
    pub fn each_folder(&self) -> impl Iterator<Item = (PathBuf, BTreeSet<&str>)> {
        let all = std::iter::once(Path::new("")).chain(self.folders.iter().map(PathBuf::as_path));
        let mut by_folder: BTreeMap<&Path, BTreeSet<&str>> =
            all.map(|folder| (folder, BTreeSet::new())).collect();
        for file in &self.tensor_files {
            by_folder.entry(&file.folder).or_default().insert(&file.name);
        }
        by_folder.into_iter().map(|(folder, names)| (self.path.join(folder), names))
    }

    /// Returns an error if the folder or a sub-folder has more than one set of weights.
    pub fn refuse_several_sets(&self) -> Result<(), ArchiveError> {
        self.each_folder().try_for_each(|(folder, names)| shard_index::refuse_several_sets(&folder, &names))
    }

    /// Returns an error if an index names a missing file.
    pub fn require_shards(&self) -> Result<(), ArchiveError> {
        for (folder, names) in self.each_folder() {
            for index in shard_index::all_in(&folder)? {
                if let Some(missing) = index.missing(&folder, &names).next() {
                    return Err(index.lacks(&missing));
                }
            }
        }
        Ok(())
    }
}

/// The names of the tensor files directly in `folder`. Broken links are included; opening one reports the
/// error.
pub(super) fn tensor_names_in(folder: &Path) -> Result<Vec<String>, ArchiveError> {
    output_folder::refuse_unfinished(folder)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(ArchiveError::io("read the folder", folder))? {
        let name = entry.map_err(ArchiveError::io("read the folder", folder))?.file_name();
        let is_wanted = |name: &str| {
            names::is_tensor_file(name)
                && !output_folder::is_own(name.as_ref())
                && !folder.join(name).is_dir()
        };
        names.extend(name.into_string().ok().filter(|name| is_wanted(name)));
    }
    names.sort();
    Ok(names)
}

/// Returns an error if `path` is a broken link.
pub(super) fn refuse_dangling(path: &Path) -> Result<(), ArchiveError> {
    let Ok(to) = fs::read_link(path) else { return Ok(()) };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what = format!("a broken link to {}; get the file again", to.display());
            Err(ArchiveError::Model { path: path.into(), what })
        }
        _ => Ok(()),
    }
}
