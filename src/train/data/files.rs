//! The files with a model's training data.

use std::path::{Path, PathBuf};

use super::error::DataError;

/// The files that a model is trained and validated with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataFiles {
    /// What the model is trained with.
    pub train: PathBuf,
    /// What its loss is measured with between steps, if there is any.
    pub valid: Option<PathBuf>,
}

impl DataFiles {
    /// The files at `path`: a file is training data; a folder has `train.jsonl` or `train.txt`, and for validation
    /// `valid.jsonl` or `valid.txt` if there is any.
    pub fn find(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Ok(Self { train: path.into(), valid: None });
        }
        let train = one_of(path, "train")?.ok_or_else(|| DataError::NoFile { path: path.into() })?;
        Ok(Self { train, valid: one_of(path, "valid")? })
    }
}

/// The file of this name in a folder, whatever kind it is of.
fn one_of(folder: &Path, name: &str) -> Result<Option<PathBuf>, DataError> {
    let names = ["jsonl", "txt"].map(|kind| format!("{name}.{kind}"));
    let is_there = |name: &String| folder.join(name).symlink_metadata().is_ok();
    match names.each_ref().map(is_there) {
        [true, true] => {
            let [first, second] = names;
            Err(DataError::TwoFiles { path: folder.into(), first, second })
        }
        [true, false] => Ok(Some(folder.join(&names[0]))),
        [false, true] => Ok(Some(folder.join(&names[1]))),
        [false, false] => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_name_and_doubt_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(DataFiles::find(folder.path()), Err(DataError::NoFile { .. })));
        std::fs::write(at("train.txt"), "text").unwrap();
        let found = DataFiles::find(folder.path()).unwrap();
        assert_eq!(found, DataFiles { train: at("train.txt"), valid: None });
        std::fs::write(at("valid.jsonl"), "{}").unwrap();
        assert_eq!(DataFiles::find(folder.path()).unwrap().valid, Some(at("valid.jsonl")));
        std::fs::write(at("train.jsonl"), "{}").unwrap();
        let error = DataFiles::find(folder.path()).unwrap_err().to_string();
        assert!(error.contains("train.jsonl") && error.contains("train.txt"), "{error}");
        assert_eq!(DataFiles::find(&at("train.jsonl")).unwrap().train, at("train.jsonl"));
    }
}
