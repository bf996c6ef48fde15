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
    verify_into(path, &decode_on_cpu, progress)
}

/// As [`verify()`], with `decode` in the place of the CPU decoder.
pub fn verify_with(
    path: &Path,
    decode: &Decode,
    progress: &dyn Progress,
) -> Result<Verification, ArchiveError> {
    verify_into(path, &into_buffer(decode), progress)
}

fn verify_into(
    path: &Path,
    decode: &DecodeInto,
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
            result.failures.extend(archive.verify_into(decode, progress)?);
        }
        Ok::<_, ArchiveError>(())
    })?;
    Ok(result)
}

impl Archive {
    /// Checks every tensor as [`verify()`] does.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Vec<Failure>, ArchiveError> {
        self.verify_into(&decode_on_cpu, progress)
    }

    /// Checks every tensor as [`verify_with`] does. The only error is being cancelled. Only
    /// [`Progress::advance`] and [`Progress::cancelled`] are called.
    pub fn verify_with(
        &self,
        decode: &Decode,
        progress: &dyn Progress,
    ) -> Result<Vec<Failure>, ArchiveError> {
        self.verify_into(&into_buffer(decode), progress)
    }

    fn verify_into(
        &self,
        decode: &DecodeInto,
        progress: &dyn Progress,
    ) -> Result<Vec<Failure>, ArchiveError> {
        let mut failures = Vec::new();
        let mut buffer = Vec::new();
        for tensor in self.tensors() {
            check(progress)?;
            if let Err(error) = self.decode_checked(tensor, decode, &mut buffer) {
                failures.push(Failure { file: self.path().into(), tensor: Some(tensor.name.clone()), error });
            }
            progress.advance(tensor.original_len as u64);
        }
        Ok(failures)
    }

    /// Puts the original bytes of `tensor` into `buffer`, all checksums and the hash compared.
    pub(super) fn decode_checked(
        &self,
        tensor: &ArchivedTensor,
        decode: &DecodeInto,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ArchiveError> {
        let payload = self.payload_of(tensor)?;
        payload.check().map_err(ArchiveError::tensor(self.path(), &tensor.name))?;
        decode(&tensor.name, &payload, buffer).map_err(|source| self.decoder_failed(tensor, source))?;
        if buffer.len() != tensor.original_len || blake3::hash(buffer) != tensor.blake3 {
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

/// A [`Decode`] that replaces what is in a buffer, which is used for tensor after tensor: fresh
/// memory for each costs as much time as decoding does.
pub(super) type DecodeInto<'a> = dyn Fn(&str, &Payload, &mut Vec<u8>) -> Result<(), BoxError> + 'a;

/// The decoder of this crate.
pub(super) fn decode_on_cpu(_: &str, payload: &Payload, buffer: &mut Vec<u8>) -> Result<(), BoxError> {
    // The length is that of the index, and bounded by the payload's; see `Payload::decode`.
    buffer.resize(payload.head().original_len, 0);
    Ok(payload.decode_into(buffer)?)
}

fn into_buffer<'a>(decode: &'a Decode) -> impl Fn(&str, &Payload, &mut Vec<u8>) -> Result<(), BoxError> + 'a {
    move |name, payload, buffer| {
        *buffer = decode(name, payload)?;
        Ok(())
    }
}
