//! A model's tensors, compressed or not, in any number of files.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::model_folder::{refuse_dangling, tensor_names_in};
use super::{Archive, ArchiveError, hints, is_bantam, names, require_there, shard_index};
use crate::codec::head::Head;
use crate::codec::{Lossy, Payload};
use crate::tensor::{Dtype, FileReader, Quantized, SourceFile};

/// One file of tensors.
#[derive(Debug)]
pub enum WeightSource {
    /// A plain file.
    Plain(SourceFile),
    /// A compressed one.
    Compressed(Archive),
}

impl WeightSource {
    /// Opens a file, compressed or not.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        refuse_dangling(path)?;
        Self::from_file(SourceFile::open(path)?)
    }

    /// Opens the file that has the tensor called `name`: `path`, or one in the model folder `path`. If
    /// the folder has an index, it opens no other file.
    pub fn holding(path: &Path, name: &str) -> Result<Self, ArchiveError> {
        if path.is_dir()
            && let Some(index) = shard_index::of(path)?
        {
            refuse_several_sets(path)?;
            let missing = || ArchiveError::NoSuchTensor { file: path.into(), tensor: name.into() };
            let shard = index.weight_map.get(name).ok_or_else(missing)?;
            let file = names::find_shard(path, shard);
            return Self::open(&file.ok_or_else(|| index.lacks(shard))?);
        }
        match &model_files(path)?[..] {
            [file] => Self::open(file),
            _ => Err(ArchiveError::NoSuchTensor { file: path.into(), tensor: name.into() }),
        }
    }

    /// Checks a file that is already open, compressed or not.
    pub fn from_file(file: SourceFile) -> Result<Self, ArchiveError> {
        Ok(if is_bantam(&file) { Self::Compressed(Archive::from_file(file)?) } else { Self::Plain(file) })
    }

    /// The tensor called `name`.
    pub fn require(&self, name: &str) -> Result<Weight<'_>, ArchiveError> {
        let missing = || ArchiveError::NoSuchTensor { file: self.path().into(), tensor: name.into() };
        self.weights().find(|weight| weight.name == name).ok_or_else(missing)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Plain(file) => file.path(),
            Self::Compressed(archive) => archive.path(),
        }
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        match self {
            Self::Plain(file) => file.tensors().len(),
            Self::Compressed(archive) => archive.tensors().len(),
        }
    }

    /// Whether the file has no tensors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its tensors in file order.
    pub fn weights(&self) -> impl Iterator<Item = Weight<'_>> {
        (0..self.len()).map(|index| self.weight(index))
    }

    fn weight(&self, index: usize) -> Weight<'_> {
        let (name, dtype, shape, quantized, original_len) = match self {
            Self::Plain(file) => {
                let t = &file.tensors()[index];
                (&t.name, t.dtype, &t.shape, &t.quantized, t.range.len())
            }
            Self::Compressed(archive) => {
                let t = &archive.tensors()[index];
                (&t.name, t.dtype, &t.shape, &t.quantized, t.original_len)
            }
        };
        Weight { name, dtype, shape, quantized: quantized.as_ref(), original_len, source: self, index }
    }
}

/// One tensor, not read yet.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// Its name.
    pub name: &'a str,
    /// Element type; U8 if `quantized` is set.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the number of bytes if `quantized` is set.
    pub shape: &'a [usize],
    /// The tensor's quantised type, if it has no [`Dtype`].
    pub quantized: Option<&'a Quantized>,
    /// Bytes of the uncompressed tensor.
    pub original_len: usize,
    source: &'a WeightSource,
    index: usize,
}

/// A tensor as it is stored in its file.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "made one at a time, and matched at once")]
pub enum Stored<'a> {
    /// Its bytes.
    Plain(&'a [u8]),
    /// Its payload, with a checked head. Its sections are not checked yet.
    Compressed(Payload<'a>),
}

impl<'a> Weight<'a> {
    /// The tensor as it is stored in its file.
    pub fn stored(&self) -> Result<Stored<'a>, ArchiveError> {
        Ok(match self.source {
            WeightSource::Plain(file) => Stored::Plain(file.data(&file.tensors()[self.index])),
            WeightSource::Compressed(archive) => {
                Stored::Compressed(archive.payload_of(&archive.tensors()[self.index])?)
            }
        })
    }

    /// The tensor's bytes: borrowed from a plain file, or decoded on the CPU. It compares all checksums, but
    /// not the BLAKE3, which [`verify`](super::verify()) does.
    pub fn bytes(&self) -> Result<Cow<'a, [u8]>, ArchiveError> {
        let wrong = || ArchiveError::tensor(self.source.path(), self.name);
        Ok(match self.stored()? {
            Stored::Plain(bytes) => Cow::Borrowed(bytes),
            Stored::Compressed(payload) => {
                payload.check().map_err(wrong())?;
                Cow::Owned(payload.decode().map_err(wrong())?)
            }
        })
    }

    /// The reader of the tensor's file, and the byte range of the tensor or its payload in it.
    pub(super) fn place(&self) -> (FileReader, Range<usize>) {
        match self.source {
            WeightSource::Plain(file) => (file.reader(), file.tensors()[self.index].range.clone()),
            WeightSource::Compressed(archive) => {
                (archive.reader(), archive.tensors()[self.index].payload.clone())
            }
        }
    }

    /// Whether it is stored as a payload.
    pub fn is_compressed(&self) -> bool {
        matches!(self.source, WeightSource::Compressed(_))
    }

    /// How it was rounded when it was compressed; `None` if it was not.
    pub fn lossy(&self) -> Option<Lossy> {
        match self.source {
            WeightSource::Compressed(archive) => archive.tensors()[self.index].lossy,
            WeightSource::Plain(_) => None,
        }
    }

    /// Returns an error if a payload's head belongs to another tensor.
    pub(super) fn check_head(&self, head: &Head) -> Result<(), ArchiveError> {
        match self.source {
            WeightSource::Plain(_) => Ok(()),
            WeightSource::Compressed(archive) => archive.check_head(&archive.tensors()[self.index], head),
        }
    }

    /// The hash of its bytes, if the file has one.
    pub fn blake3(&self) -> Option<blake3::Hash> {
        match self.source {
            WeightSource::Plain(_) => None,
            WeightSource::Compressed(archive) => Some(archive.tensors()[self.index].blake3),
        }
    }

    /// The file that the tensor is in.
    pub fn source(&self) -> &'a WeightSource {
        self.source
    }
}

/// All files of a model. Clones share them.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    path: PathBuf,
    sources: Arc<[WeightSource]>,
    by_name: Arc<HashMap<String, (usize, usize)>>,
}

impl ModelFiles {
    /// Opens a safetensors file, compressed or not, or a model folder: the files named in
    /// `model.safetensors.index.json`, or `model.safetensors`, or else the folder's only safetensors file. A folder
    /// with more than one set of weights is an error.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let files = model_files(path)?;
        let before = states(&files);
        let sources: Vec<WeightSource> =
            files.iter().map(|file| WeightSource::open(file)).collect::<Result<_, _>>()?;
        // The model may have been replaced while its files were being opened.
        if states(&files) != before || model_files(path)? != files {
            return Err(ArchiveError::Changed { file: path.into() });
        }
        let mut by_name = HashMap::new();
        for (s, source) in sources.iter().enumerate() {
            for weight in source.weights() {
                if by_name.insert(weight.name.to_string(), (s, weight.index)).is_some() {
                    let what = format!("tensor {} is in more than one file", weight.name);
                    return Err(ArchiveError::Model { path: path.into(), what });
                }
            }
        }
        Ok(Self { path: path.into(), sources: sources.into(), by_name: by_name.into() })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that `config.json` and the tokenizer are expected in.
    pub fn folder(&self) -> &Path {
        if self.path.is_dir() {
            return &self.path;
        }
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// The files, in the order of their names.
    pub fn sources(&self) -> &[WeightSource] {
        &self.sources
    }

    /// All tensors, file after file.
    pub fn weights(&self) -> impl Iterator<Item = Weight<'_>> {
        self.sources.iter().flat_map(WeightSource::weights)
    }

    /// The tensor called `name`, in any of the files.
    pub fn weight(&self, name: &str) -> Option<Weight<'_>> {
        self.by_name.get(name).map(|&(source, index)| self.sources[source].weight(index))
    }

    /// Like [`ModelFiles::weight`], but a missing tensor is an error that names the model.
    pub fn require(&self, name: &str) -> Result<Weight<'_>, ArchiveError> {
        self.weight(name)
            .ok_or_else(|| ArchiveError::NoSuchTensor { file: self.path.clone(), tensor: name.into() })
    }
}

/// Returns an error if `folder` has more than one set of weights.
fn refuse_several_sets(folder: &Path) -> Result<(), ArchiveError> {
    let names = tensor_names_in(folder)?;
    shard_index::refuse_several_sets(folder, &names.iter().map(|name| &name[..]).collect::<BTreeSet<_>>())
}

/// Length and time of change of each file, to notice when another process writes or replaces one.
fn states(files: &[PathBuf]) -> Vec<Option<(u64, Option<SystemTime>)>> {
    let state = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        Some((meta.len(), meta.modified().ok()))
    };
    files.iter().map(state).collect()
}

fn model_files(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    require_there(path)?;
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    refuse_several_sets(path)?;
    if let Some(index) = shard_index::of(path)? {
        let find = |name: &str| names::find_shard(path, name).ok_or_else(|| index.lacks(name));
        return index.shards().into_iter().map(find).collect();
    }
    if let Some(file) = names::find_shard(path, "model.safetensors") {
        return Ok(vec![file]);
    }
    let mut files = tensor_names_in(path)?;
    // A GGUF file in the same folder is the same model for another program.
    files.retain(|file| !names::is_gguf(file));
    match &files[..] {
        [file] => Ok(vec![path.join(file)]),
        [] => Err(hints::nothing_in(path, "safetensors file")),
        [one, other, ..] => {
            let what = format!(
                "{} safetensors files, {one} and {other} among them, and no {}; name one of them",
                files.len(),
                names::SHARD_INDEX
            );
            Err(ArchiveError::Model { path: path.into(), what })
        }
    }
}
