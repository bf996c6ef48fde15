//! Checking compressed files through and through.

use std::path::{Path, PathBuf};

use super::progress::{check, reported};
use super::reader::ArchivedTensor;
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
    /// What is wrong; empty where all is well.
    pub failures: Vec<Failure>,
}

/// Checks every compressed file that `path` is or holds: each tensor's checksums, and that it
/// decodes to bytes of the recorded BLAKE3. Of a sharded model, also that all shards are there.
///
/// An error is returned only where nothing could be checked at all; damage is reported in the
/// [`Verification`].
pub fn verify(path: &Path, progress: &dyn Progress) -> Result<Verification, ArchiveError> {
    verify_with(path, &|_, payload| Ok(payload.decode()?), progress)
}

/// As [`verify()`], with `decode` in the place of the CPU decoder.
pub fn verify_with(
    path: &Path,
    decode: &Decode,
    progress: &dyn Progress,
) -> Result<Verification, ArchiveError> {
    let mut result = Verification::default();
    let mut archives = Vec::new();
    for file in folder::compressed_in(path)? {
        match Archive::open(&file) {
            Ok(archive) => archives.push(archive),
            Err(error) => result.failures.push(Failure { file, tensor: None, error }),
        }
    }
    result.failures.extend(folder::missing_shards(path)?.into_iter().map(|(file, error)| Failure {
        file,
        tensor: None,
        error,
    }));
    let total = archives.iter().map(Archive::original_len).sum();
    reported(progress, total, "verifying", || {
        for archive in &archives {
            result.tensors += archive.tensors().len();
            result.failures.extend(archive.verify_with(decode, progress)?);
        }
        Ok(())
    })?;
    Ok(result)
}

impl Archive {
    /// Checks every tensor as [`verify()`] does.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Vec<Failure>, ArchiveError> {
        self.verify_with(&|_, payload| Ok(payload.decode()?), progress)
    }

    /// Checks every tensor as [`verify_with`] does. The only error is being cancelled. Only
    /// [`Progress::advance`] and [`Progress::cancelled`] are called.
    pub fn verify_with(
        &self,
        decode: &Decode,
        progress: &dyn Progress,
    ) -> Result<Vec<Failure>, ArchiveError> {
        let mut failures = Vec::new();
        for tensor in self.tensors() {
            check(progress)?;
            if let Err(error) = self.decode_checked(tensor, decode) {
                failures.push(Failure { file: self.path().into(), tensor: Some(tensor.name.clone()), error });
            }
            progress.advance(tensor.original_len as u64);
        }
        Ok(failures)
    }

    /// The original bytes of `tensor`, all checksums and the hash compared.
    pub(super) fn decode_checked(
        &self,
        tensor: &ArchivedTensor,
        decode: &Decode,
    ) -> Result<Vec<u8>, ArchiveError> {
        let payload = self.payload_of(tensor)?;
        payload.check().map_err(ArchiveError::tensor(self.path(), &tensor.name))?;
        let data = decode(&tensor.name, &payload).map_err(|source| self.decoder_failed(tensor, source))?;
        if data.len() != tensor.original_len || blake3::hash(&data) != tensor.blake3 {
            return Err(ArchiveError::Hash { file: self.path().into(), tensor: tensor.name.clone() });
        }
        Ok(data)
    }

    fn decoder_failed(&self, tensor: &ArchivedTensor, source: BoxError) -> ArchiveError {
        let (file, tensor) = (self.path().into(), tensor.name.clone());
        match source.downcast() {
            Ok(source) => ArchiveError::Tensor { file, tensor, source: *source },
            Err(source) => ArchiveError::Decoder { file, tensor, source },
        }
    }
}
