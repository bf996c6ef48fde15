//! Checking compressed files through and through.

use std::path::{Path, PathBuf};

use super::progress::{check, reported};
use super::reader::ArchivedTensor;
use super::windows::decode_all;
use super::{Archive, ArchiveError, BoxError, Progress, folder};
use crate::codec::Payload;

/// A decoder: from a tensor's name and its payload, whose checksums have been compared, to the
/// original bytes.
pub type Decode<'a> = dyn Fn(&str, &Payload) -> Result<Vec<u8>, BoxError> + 'a;

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Failure {
    /// In this file.
    pub file: PathBuf,
    /// In this tensor; `None` where the file as a whole is meant.
    pub tensor: Option<String>,
    /// What it is.
    pub error: ArchiveError,
}

/// What [`verify()`] found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Tensors that were looked at.
    pub tensors: usize,
    /// How many of these were rounded when they were compressed, so that they decode to something else than the
    /// original.
    pub rounded: usize,
    /// What is wrong; empty where all is well.
    pub failures: Vec<Failure>,
}

/// Checks every compressed file that `path` is or holds: each tensor's checksums, and that it
/// decodes to bytes of the recorded BLAKE3. Of a sharded model, also that all shards are there.
///
/// An error is returned only where nothing could be checked at all; damage is reported in the
/// [`Verification`].
pub fn verify(path: &Path, progress: &dyn Progress) -> Result<Verification, ArchiveError> {
    verify_each(path, progress, |archive| archive.verify(progress))
}

/// As [`verify()`], with `decode` in the place of the CPU decoder. A tensor at a time is decoded, and
/// in memory.
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
    let mut archives = Vec::new();
    for file in folder::compressed_in(path)? {
        match Archive::open(&file) {
            Ok(archive) => archives.push(archive),
            Err(error) => result.failures.push(Failure { file, tensor: None, error }),
        }
    }
    match folder::missing_shards(path) {
        Ok(missing) => {
            let failure = |(file, error)| Failure { file, tensor: None, error };
            result.failures.extend(missing.into_iter().map(failure));
        }
        Err(error) => result.failures.push(Failure { file: path.into(), tensor: None, error }),
    }
    let total = archives.iter().map(Archive::original_len).fold(0, u64::saturating_add);
    reported(progress, total, "verifying", || {
        for archive in &archives {
            result.tensors += archive.tensors().len();
            result.rounded += archive.tensors().iter().filter(|tensor| tensor.lossy.is_some()).count();
            result.failures.extend(verify(archive)?);
        }
        Ok::<_, ArchiveError>(())
    })?;
    Ok(result)
}

impl Archive {
    /// Checks every tensor as [`verify()`] does. The only error is being cancelled. Only
    /// [`Progress::advance`] and [`Progress::cancelled`] are called.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Vec<Failure>, ArchiveError> {
        let mut failures = Vec::new();
        decode_all(self, None, progress, &mut |tensor, error| {
            failures.push(self.failure(tensor, error));
            Ok(())
        })?;
        Ok(failures)
    }

    /// Checks every tensor as [`verify_with`] does, and as [`Archive::verify`] otherwise.
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
        let payload = self.payload_of(tensor)?;
        payload.check().map_err(ArchiveError::tensor(self.path(), &tensor.name))?;
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
