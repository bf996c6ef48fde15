//! Many models in a folder, and which of them a worker adds.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::archive::{hub_model, names};

/// A model among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundModel {
    /// Its name: that of a hub, or its path in the folder that was searched.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
}

/// The models in a folder and its sub-folders, sorted by path: folders with files of tensors, what is inside of them
/// included. Of a hub's cache, every revision.
pub fn models_in(folder: &Path) -> Result<Vec<FoundModel>, StoreError> {
    let root = fs::canonicalize(folder).map_err(StoreError::io("read", folder))?;
    let (mut models, mut unread) = (Vec::new(), vec![root.clone()]);
    while let Some(here) = unread.pop() {
        let (mut folders, mut has_tensors) = (Vec::new(), false);
        let entries = fs::read_dir(&here).map_err(StoreError::io("read the folder", here.clone()))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read the folder", here.clone()))?;
            let kind = entry.file_type().map_err(StoreError::io("read", entry.path()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Links to folders may lead in circles. A hub's cache has its bytes in `blobs`, without names.
            if kind.is_dir() && name != ".git" {
                folders.push(entry.path());
            }
            has_tensors |= !kind.is_dir() && (names::is_tensor_file(&name) || names::is_compressed(&name));
        }
        match has_tensors {
            true => models.push(FoundModel { name: name_of(&root, &here), path: here }),
            false => unread.extend(folders),
        }
    }
    models.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(models)
}

fn name_of(root: &Path, model: &Path) -> String {
    let inside = model.strip_prefix(root).ok().filter(|inside| !inside.as_os_str().is_empty());
    // Of the folder itself there is only its own name.
    let inside = inside.or(model.file_name().map(Path::new)).unwrap_or(model);
    let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    hub_model(model).unwrap_or_else(|| parts.join("/"))
}

/// One of so many shares, counted from one: of the models that workers add, or of the pieces that a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    index: u32,
    of: u32,
}

impl Share {
    /// All of it.
    pub const ALL: Self = Self { index: 1, of: 1 };

    /// Share `index` of `of`; `None` if there is no such share.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&index).then_some(Self { index, of })
    }

    /// Whether what has this name is in the share. All versions of a model are in the same.
    pub fn has(&self, name: &str) -> bool {
        let hash = blake3::hash(name.as_bytes());
        let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        u64::from_le_bytes(*first) % u64::from(self.of) == u64::from(self.index - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_has_one_worker() {
        let shares: Vec<Share> = (1..=4).map(|i| Share::new(i, 4).unwrap()).collect();
        let mut counts = [0; 4];
        for i in 0..1000 {
            let name = format!("org/model-{i}");
            assert!(Share::ALL.has(&name));
            let owners: Vec<usize> = (0..4).filter(|&share| shares[share].has(&name)).collect();
            assert_eq!(owners.len(), 1);
            counts[owners[0]] += 1;
        }
        assert!(counts.iter().all(|&count| count > 200), "{counts:?}");
        for (index, of) in [(0, 4), (5, 4), (0, 0), (1, 0)] {
            assert_eq!(Share::new(index, of), None);
        }
    }

    #[test]
    fn models_are_found_and_have_their_names() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "org/one/model.safetensors",
            "org/one/sub/more.safetensors",
            "org/one/config.json",
            "two/x.gguf",
            "three/model.bantam.safetensors",
            "none/readme.txt",
            "models--org--hub/snapshots/0123/model.safetensors",
            "models--org--hub/snapshots/4567/model.safetensors",
            "models--org--hub/blobs/89ab",
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let names: Vec<String> =
            models_in(root.path()).unwrap().into_iter().map(|model| model.name).collect();
        assert_eq!(names, ["org/hub", "org/hub", "org/one", "three", "two"]);
        let [one] = models_in(&root.path().join("two")).unwrap().try_into().unwrap();
        assert_eq!(one.name, "two");
        assert!(models_in(&root.path().join("nowhere")).is_err());
    }
}
