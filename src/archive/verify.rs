//! Checking compressed files and model folders completely.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::model_folder::ModelFolder;
use super::progress::{check, reported};
use super::reader::ArchivedTensor;
use super::shard_index::{self, ShardIndex};
use super::windows::decode_all;
use super::{Archive, ArchiveError, BoxError, ModelFiles, Progress, WeightSource, require_there};
use crate::codec::Payload;
use crate::tensor::SourceFile;

/// Bytes of a plain file that are read at a time.
const READ_AT_ONCE: usize = 8 << 20;

/// A decoder: takes a tensor's name and its payload, whose checksums have been compared, and returns the
/// original bytes.
pub type Decode<'a> = dyn Fn(&str, &Payload) -> Result<Vec<u8>, BoxError> + 'a;

/// A fault that `verify` found.
#[derive(Debug)]
pub struct Failure {
    /// The file.
    pub file: PathBuf,
    /// The tensor; `None` if the fault concerns the whole file.
    pub tensor: Option<String>,
    /// The fault.
    pub error: ArchiveError,
}

/// The result of [`verify()`].
#[derive(Debug, Default)]
pub struct Verification {
    /// Number of compressed tensors checked.
    pub tensors: usize,
    /// Number of those that were rounded when they were compressed, and so do not decode to the original.
    pub rounded: usize,
    /// Number of tensors in plain files of the folder. They have no checksums, so only the completeness and
    /// readability of their files are checked.
    pub plain: usize,
    /// All faults; empty if there are none.
    pub failures: Vec<Failure>,
}

/// Checks the compressed file `path`, or all compressed files of the folder `path`: each tensor's checksums,
/// and that it decodes to bytes with the recorded BLAKE3. For a sharded model, it also checks that all shards
/// exist and hold the tensors that the index assigns to them. It reads plain files of a folder from beginning
/// to end.
///
/// It returns an error only if nothing can be checked, or if the folder has more than one set of weights; it
/// reports damage in the [`Verification`].
pub fn verify(path: &Path, progress: &dyn Progress) -> Result<Verification, ArchiveError> {
    verify_with_base(path, None, progress)
}

/// Like [`verify()`], for files that hold differences to the model `base`. Without it, such tensors are
/// failures.
pub fn verify_with_base(
    path: &Path,
    base: Option<ModelFiles>,
    progress: &dyn Progress,
) -> Result<Verification, ArchiveError> {
    verify_each(path, progress, |archive| archive.verify_with_base(base.as_ref(), progress))
}

/// Like [`verify()`], with `decode` instead of the CPU decoder. It decodes one tensor at a time, in memory.
pub fn verify_with(
    path: &Path,
    decode: &Decode,
    progress: &dyn Progress,
) -> Result<Verification, ArchiveError> {
    verify_each(path, progress, |archive| archive.verify_with(decode, progress))
}

fn verify_each(
    path: &Path,
    progress: &dyn Progress,
    verify: impl Fn(&Archive) -> Result<Vec<Failure>, ArchiveError>,
) -> Result<Verification, ArchiveError> {
    let mut result = Verification::default();
    let mut sources = Vec::new();
    for file in files_of(path)? {
        match open(&file, path) {
            Ok(source) => sources.push(source),
            Err(error) => result.failures.push(Failure { file, tensor: None, error }),
        }
    }
    if path.is_dir() {
        let is_compressed = |source: &WeightSource| matches!(source, WeightSource::Compressed(_));
        if result.failures.is_empty() && !sources.iter().any(is_compressed) {
            return Err(ArchiveError::NotCompressed { file: path.into() });
        }
        result.failures.extend(index_failures(path, &sources)?);
    }
    let total = sources.iter().map(bytes_of).fold(0, u64::saturating_add);
    reported(progress, total, "verifying", || {
        for source in &sources {
            match source {
                WeightSource::Compressed(archive) => {
                    result.tensors += archive.tensors().len();
                    result.rounded +=
                        archive.tensors().iter().filter(|tensor| tensor.lossy.is_some()).count();
                    result.failures.extend(verify(archive)?);
                }
                WeightSource::Plain(file) => {
                    result.plain += file.tensors().len();
                    match read_through(file, progress) {
                        Err(ArchiveError::Cancelled) => return Err(ArchiveError::Cancelled),
                        Err(error) => {
                            let file = file.path().into();
                            result.failures.push(Failure { file, tensor: None, error });
                        }
                        Ok(()) => {}
                    }
                }
            }
        }
        Ok::<_, ArchiveError>(())
    })?;
    Ok(result)
}

/// `path` itself, or the tensor files of the folder, which must be one set.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    require_there(path)?;
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let folder = ModelFolder::read(path, None)?;
    folder.require_tensors()?;
    folder.refuse_several_sets()?;
    Ok(folder.tensor_files.iter().map(|file| path.join(file.path())).collect())
}

/// Opens `file`; it must be compressed if it is `path` itself and not a file in the folder `path`.
fn open(file: &Path, path: &Path) -> Result<WeightSource, ArchiveError> {
    match file == path {
        true => Archive::open(file).map(WeightSource::Compressed),
        false => WeightSource::open(file),
    }
}

fn bytes_of(source: &WeightSource) -> u64 {
    match source {
        WeightSource::Compressed(archive) => archive.original_len(),
        WeightSource::Plain(file) => file.bytes().len() as u64,
    }
}

/// Returns an error if a plain file cannot be read to its end.
fn read_through(file: &SourceFile, progress: &dyn Progress) -> Result<(), ArchiveError> {
    let (reader, len) = (file.reader(), file.bytes().len());
    let mut bytes = vec![0; READ_AT_ONCE.min(len)];
    for at in (0..len).step_by(READ_AT_ONCE) {
        check(progress)?;
        let bytes = &mut bytes[..READ_AT_ONCE.min(len - at)];
        reader.read_exact_at(bytes, at as u64).map_err(ArchiveError::read_again(file.path()))?;
        progress.advance(bytes.len() as u64);
    }
    Ok(())
}

/// Differences between the shard indexes in the folder `path` and the contents of the files. Files that could
/// not be opened have been reported already.
fn index_failures(path: &Path, sources: &[WeightSource]) -> Result<Vec<Failure>, ArchiveError> {
    let by_path: HashMap<&Path, &WeightSource> =
        sources.iter().map(|source| (source.path(), source)).collect();
    let mut failures = Vec::new();
    for (folder, names) in ModelFolder::read(path, None)?.each_folder() {
        match shard_index::all_in(&folder) {
            Ok(indices) => {
                for index in indices {
                    let missing = index.missing(&folder, &names);
                    failures.extend(missing.map(|name| Failure {
                        file: folder.join(&name),
                        tensor: None,
                        error: index.lacks(&name),
                    }));
                    failures.extend(misplaced(&index, &folder, &by_path));
                }
            }
            Err(error) => failures.push(Failure { file: folder, tensor: None, error }),
        }
    }
    Ok(failures)
}

/// Tensors that are not in the file that `index` assigns them to.
fn misplaced(index: &ShardIndex, folder: &Path, by_path: &HashMap<&Path, &WeightSource>) -> Vec<Failure> {
    let mut failures = Vec::new();
    for shard in index.shards() {
        let found = super::names::find_shard(folder, shard);
        let Some(source) = found.and_then(|found| by_path.get(&*found).copied()) else { continue };
        let held: HashSet<&str> = source.weights().map(|weight| weight.name).collect();
        let listed =
            index.weight_map.iter().filter(|(_, file)| *file == shard).map(|(tensor, _)| &tensor[..]);
        let listed: BTreeSet<&str> = listed.collect();
        for tensor in listed.iter().filter(|tensor| !held.contains(**tensor)) {
            let what = format!("says that {shard} holds tensor {tensor}, which it does not");
            failures.push(Failure {
                file: source.path().into(),
                tensor: Some(tensor.to_string()),
                error: ArchiveError::Model { path: index.path.clone(), what },
            });
        }
        let unlisted = held.iter().filter(|tensor| !listed.contains(**tensor)).min();
        if let Some(tensor) = unlisted {
            log::warn!("{}: does not list tensor {tensor}, which {shard} holds", index.path.display());
        }
    }
    failures
}

impl Archive {
    /// Checks every tensor as [`verify()`] does. It returns an error only if it is cancelled. It calls only
    /// [`Progress::advance`] and [`Progress::cancelled`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<Vec<Failure>, ArchiveError> {
        self.verify_with_base(None, progress)
    }

    /// Like [`Archive::verify`], for a file that holds differences to `base`.
    pub fn verify_with_base(
        &self,
        base: Option<&ModelFiles>,
        progress: &dyn Progress,
    ) -> Result<Vec<Failure>, ArchiveError> {
        let mut failures = Vec::new();
        decode_all(self, base, None, progress, &mut |tensor, error| {
            failures.push(self.failure(tensor, error));
            Ok(())
        })?;
        Ok(failures)
    }

    /// Like [`Archive::verify`], with `decode` instead of the CPU decoder, as in [`verify_with`].
    pub fn verify_with(
        &self,
        decode: &Decode,
        progress: &dyn Progress,
    ) -> Result<Vec<Failure>, ArchiveError> {
        let mut failures = Vec::new();
        for tensor in self.tensors() {
            check(progress)?;
            if let Err(error) = self.decode_with(tensor, decode) {
                failures.push(self.failure(tensor, error));
            }
            progress.advance(tensor.original_len as u64);
        }
        Ok(failures)
    }

    fn failure(&self, tensor: &ArchivedTensor, error: ArchiveError) -> Failure {
        Failure { file: self.path().into(), tensor: Some(tensor.name.clone()), error }
    }

    fn decode_with(&self, tensor: &ArchivedTensor, decode: &Decode) -> Result<(), ArchiveError> {
        let bytes =
            self.reader().read(tensor.payload.clone()).map_err(ArchiveError::read_again(self.path()))?;
        let wrong = || ArchiveError::tensor(self.path(), &tensor.name);
        let payload = Payload::parse(&bytes).map_err(wrong())?;
        self.check_head(tensor, payload.head())?;
        payload.check().map_err(wrong())?;
        let bytes = decode(&tensor.name, &payload).map_err(|source| self.decoder_failed(tensor, source))?;
        if bytes.len() != tensor.original_len || blake3::hash(&bytes) != tensor.blake3 {
            return Err(ArchiveError::Hash { file: self.path().into(), tensor: tensor.name.clone() });
        }
        Ok(())
    }

    fn decoder_failed(&self, tensor: &ArchivedTensor, source: BoxError) -> ArchiveError {
        let (file, tensor) = (self.path().into(), tensor.name.clone());
        match source.downcast() {
            Ok(source) => ArchiveError::Tensor { file, tensor, source: *source },
            Err(source) => ArchiveError::Decoder { file, tensor, source },
        }
    }
}
