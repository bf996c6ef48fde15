//! A compressed tensor, decoded alone or with the tensor of another model that it is the difference to.

use std::ops::Range;

use super::delta_reader::DeltaReader;
use super::reader::ArchivedTensor;
use super::{Archive, ArchiveError, ModelFiles, TensorReader};

/// What decodes a compressed tensor.
#[derive(Debug)]
pub(super) enum Coded {
    Alone(TensorReader),
    Delta(Box<DeltaReader>),
}

impl Coded {
    /// What decodes `tensor` of `archive`. This reads and checks its head. A difference needs its base.
    pub fn of(
        archive: &Archive,
        tensor: &ArchivedTensor,
        base: Option<&ModelFiles>,
    ) -> Result<Self, ArchiveError> {
        match (&tensor.base, base) {
            (None, _) => archive.tensor_reader(tensor).map(Self::Alone),
            (Some(of), Some(base)) => Ok(Self::Delta(Box::new(DeltaReader::new(archive, tensor, base, of)?))),
            (Some(_), None) => Err(archive.needs_base(tensor)),
        }
    }

    /// Bytes of the tensor that are best decoded together.
    pub fn band_bytes(&self) -> usize {
        match self {
            Self::Alone(reader) => reader.band_bytes(),
            Self::Delta(reader) => reader.band_bytes(),
        }
    }

    /// Compares the checksums that cover the bytes `range` of the tensor.
    pub fn check_bytes(&self, range: Range<usize>) -> Result<(), ArchiveError> {
        match self {
            Self::Alone(reader) => reader.check_bytes(range),
            Self::Delta(reader) => reader.check_bytes(range),
        }
    }

    /// Writes the bytes `range` of the tensor to `out`.
    pub fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), ArchiveError> {
        match self {
            Self::Alone(reader) => reader.decode_bytes(range, out),
            Self::Delta(reader) => reader.decode_bytes(range, out),
        }
    }

    /// The reason for `error`, if it is that a difference was added to another base.
    pub fn explain(&self, error: ArchiveError) -> ArchiveError {
        match self {
            Self::Delta(reader) => reader.explain().err().unwrap_or(error),
            Self::Alone(_) => error,
        }
    }
}
