//! A model on disk, as it is added to a store: its files, and the tensors in them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::manifest::{ManifestTensor, PieceId};
use super::sketch::{SEEN, Sketch};
use crate::archive::{WeightSource, hub_model, names};
use crate::tensor::Dtype;

/// Bytes of a piece of what belongs to no tensor.
pub(super) const BLOB: usize = 16 << 20;

/// The name of a model in a hub's cache, or of its folder, or of its file without its ending.
pub(super) fn default_name(source: &Path) -> Result<String, StoreError> {
    let whole = fs::canonicalize(source).map_err(StoreError::io("read", source))?;
    if let Some(name) = hub_model(&whole) {
        return Ok(name);
    }
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    let why = "it is not made of letters; name the model with --name";
    let bad = || StoreError::BadName { name: source.display().to_string(), why };
    Ok(name.and_then(|name| name.to_str()).ok_or_else(bad)?.into())
}

/// A file of a model.
pub(super) struct ModelFile {
    pub path: PathBuf,
    /// Its path in the model's folder.
    pub name: String,
}

/// The files of a model: the file, or all in a folder and its sub-folders, links to files included.
pub(super) fn files_of(source: &Path) -> Result<Vec<ModelFile>, StoreError> {
    let left_out = |path: &Path| StoreError::LeftOut { path: path.into() };
    let data = fs::metadata(source).map_err(StoreError::io("read", source))?;
    let text =
        |name: &std::ffi::OsStr, path: &Path| name.to_str().map(str::to_string).ok_or_else(|| left_out(path));
    if !data.is_dir() {
        let name = text(source.file_name().ok_or_else(|| left_out(source))?, source)?;
        return Ok(vec![ModelFile { path: source.into(), name }]);
    }
    let (mut files, mut unread) = (Vec::new(), vec![(source.to_path_buf(), String::new())]);
    while let Some((folder, inner)) = unread.pop() {
        let entries = fs::read_dir(&folder).map_err(StoreError::io("read the folder", folder.clone()))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read the folder", folder.clone()))?;
            let path = entry.path();
            let name = format!("{inner}{}", text(&entry.file_name(), &path)?);
            let kind = entry.file_type().map_err(StoreError::io("read", path.clone()))?;
            // A link to a folder may lead anywhere, also to a folder above.
            match fs::metadata(&path) {
                Ok(data) if data.is_file() => files.push(ModelFile { path, name }),
                Ok(data) if data.is_dir() && !kind.is_symlink() => {
                    if entry.file_name() != ".git" {
                        unread.push((path, name + "/"));
                    }
                }
                _ => return Err(left_out(&path)),
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Bytes of all files.
pub(super) fn bytes_of_files(files: &[ModelFile]) -> u64 {
    files.iter().map(|file| fs::metadata(&file.path).map_or(0, |data| data.len())).sum()
}

/// Reads a file that is no file of tensors, piece by piece.
pub(super) fn read_blob(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut file = fs::File::open(path).map_err(StoreError::io("read", path))?;
    loop {
        let mut piece = Vec::new();
        let read = file.by_ref().take(BLOB as u64).read_to_end(&mut piece);
        if read.map_err(StoreError::io("read", path))? == 0 {
            return Ok(());
        }
        take(&piece)?;
    }
}

/// A file that has been opened: one of tensors, or any other.
pub(super) struct Opened<'a> {
    pub file: &'a ModelFile,
    pub tensors: Option<WeightSource>,
}

/// A tensor of such a file.
pub(super) struct OpenedTensor<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub start: usize,
}

impl OpenedTensor<'_> {
    pub fn described(&self, sketch: Option<Sketch>, pieces: Vec<PieceId>) -> ManifestTensor {
        let (name, shape, start) = (self.name.into(), self.shape.into(), self.start as u64);
        ManifestTensor { name, dtype: self.dtype, shape, start, sketch, pieces }
    }
}

impl<'a> Opened<'a> {
    pub fn open(file: &'a ModelFile) -> Result<Self, StoreError> {
        let is_compressed = names::is_compressed(&file.name);
        if !is_compressed && !names::is_tensor_file(&file.name) {
            return Ok(Self { file, tensors: None });
        }
        match WeightSource::open(&file.path) {
            Ok(source) => Ok(Self { file, tensors: Some(source) }),
            // It is what it is, and comes back as it is. A compressed one could not be told from its
            // original.
            Err(error) if !is_compressed => {
                log::warn!("{}: stored without regard to tensors: {error}", file.path.display());
                Ok(Self { file, tensors: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The path of the file, or of its original.
    pub fn path(&self) -> String {
        let (folder, name) = self.file.name.rsplit_once('/').unwrap_or(("", &self.file.name));
        match (&self.tensors, names::original_name(name)) {
            (Some(WeightSource::Compressed(_)), Some(original)) if folder.is_empty() => original,
            (Some(WeightSource::Compressed(_)), Some(original)) => format!("{folder}/{original}"),
            _ => self.file.name.clone(),
        }
    }

    /// The tensors in file order.
    pub fn tensors(&self) -> impl Iterator<Item = OpenedTensor<'_>> {
        let plain = match &self.tensors {
            Some(WeightSource::Plain(file)) => file.tensors(),
            _ => &[],
        };
        let archived = match &self.tensors {
            Some(WeightSource::Compressed(archive)) => archive.tensors(),
            _ => &[],
        };
        let plain = plain.iter().map(|t| OpenedTensor {
            name: &t.name,
            dtype: t.dtype,
            shape: &t.shape,
            start: t.range.start,
        });
        let archived = archived.iter().map(|t| OpenedTensor {
            name: &t.name,
            dtype: t.dtype,
            shape: &t.shape,
            start: t.start,
        });
        plain.chain(archived)
    }

    /// The bytes outside tensors.
    pub fn outside(&self) -> Result<Vec<u8>, StoreError> {
        Ok(match &self.tensors {
            Some(WeightSource::Plain(file)) => file.outside().to_vec(),
            Some(WeightSource::Compressed(archive)) => archive.outside()?.bytes().to_vec(),
            None => Vec::new(),
        })
    }
}

/// The sizes, names and sketches of tensors, of which only the beginnings are read.
pub(super) fn looks_of(opened: &[Opened]) -> Result<Vec<(u64, String, Sketch)>, StoreError> {
    let mut looks = Vec::new();
    for file in opened {
        let weights = file.tensors.as_ref().map(WeightSource::weights).into_iter().flatten();
        for weight in weights.filter(|weight| Sketch::suits(weight.dtype)) {
            let reader = weight.reader()?;
            let rows = reader.rows().min(SEEN.div_ceil(reader.cols().max(1)));
            if let Some(sketch) = Sketch::of(weight.dtype, &reader.read_matrix_rows(0..rows)?) {
                looks.push((weight.original_len as u64, weight.name.to_string(), sketch));
            }
        }
    }
    Ok(looks)
}
