//! Any bytes of a tensor, decoded from what is read of its file by position.

use std::ops::Range;

use super::reader::ArchivedTensor;
use super::tensor_reader::PIECE;
use super::{Archive, ArchiveError, TensorReader};
use crate::codec::head::{Head, Kind, Tiled};
use crate::codec::{Checksum, CodecError, Payload, RowDecoder, resize};

/// A row block that is larger than this is not read as a whole. Its rows have millions of elements.
const LARGEST_ROW_BLOCK: usize = 64 << 20;

/// A compressed tensor that is decoded some bytes at a time.
pub(super) enum CodedTensor<'a> {
    /// By position.
    Read(TensorReader),
    /// Through the file's mapping, since a row block of it is very large.
    Mapped {
        /// The file.
        archive: &'a Archive,
        /// Its name.
        tensor: &'a ArchivedTensor,
        /// Its payload.
        payload: Payload<'a>,
    },
}

impl Archive {
    /// The tensor `tensor` of this file. Its head is read and checked now.
    pub(super) fn coded<'a>(&'a self, tensor: &'a ArchivedTensor) -> Result<CodedTensor<'a>, ArchiveError> {
        let reader = self.tensor_reader(tensor)?;
        Ok(match reader.is_bounded() {
            true => CodedTensor::Read(reader),
            false => CodedTensor::Mapped { archive: self, tensor, payload: self.payload_of(tensor)? },
        })
    }
}

impl CodedTensor<'_> {
    /// Bytes of the original that are best decoded together; see [`Head::band_bytes`].
    pub fn band_bytes(&self) -> usize {
        match self {
            Self::Read(reader) => reader.head().map_or(PIECE, Head::band_bytes),
            Self::Mapped { payload, .. } => payload.band_bytes(),
        }
    }

    /// Compares those checksums that cover the bytes `range` of the original.
    pub fn check_bytes(&self, range: Range<usize>) -> Result<(), ArchiveError> {
        match self {
            Self::Read(reader) => reader.check_bytes(range),
            Self::Mapped { archive, tensor, payload } => {
                payload.check_bytes(range).map_err(ArchiveError::tensor(archive.path(), &tensor.name))
            }
        }
    }

    /// Writes the bytes `range` of the original to `out`, which is as long. Nothing is checked.
    pub fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), ArchiveError> {
        match self {
            Self::Read(reader) => reader.decode_bytes(range, out),
            Self::Mapped { archive, tensor, payload } => {
                payload.decode_bytes(range, out).map_err(ArchiveError::tensor(archive.path(), &tensor.name))
            }
        }
    }
}

impl TensorReader {
    /// Whether [`TensorReader::decode_bytes`] does with bounded memory.
    fn is_bounded(&self) -> bool {
        match self.head().map(|head| &head.kind) {
            Some(Kind::Tiled(tiled)) => tiled.row_block_bytes() <= LARGEST_ROW_BLOCK,
            _ => true,
        }
    }

    /// Compares those checksums that cover the bytes `range` of the original. A plain tensor has none.
    fn check_bytes(&self, range: Range<usize>) -> Result<(), ArchiveError> {
        self.refuse_beyond(&range)?;
        self.head().map_or(Ok(()), |head| self.check_groups(head, head.groups_of(range), usize::MAX))
    }

    /// Compares every section of `groups` with its checksum, but for those of planes from the `planes`th on.
    pub(super) fn check_groups(
        &self,
        head: &Head,
        groups: Range<usize>,
        planes: usize,
    ) -> Result<(), ArchiveError> {
        let mut piece = vec![0; PIECE];
        for run in head.checked(groups, planes) {
            let mut sum = Checksum::default();
            for start in run.bytes.clone().step_by(PIECE) {
                let piece = &mut piece[..(run.bytes.end - start).min(PIECE)];
                self.read(start, piece)?;
                sum.add(piece);
            }
            head.compare(&run, sum.finish()).map_err(|error| self.wrong(error))?;
        }
        Ok(())
    }

    /// Writes the bytes `range` of the original to `out`, which is as long, and reads no more than the row blocks they
    /// lie in. Nothing is [checked](Self::check_bytes).
    fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), ArchiveError> {
        self.refuse_beyond(&range)?;
        let Some(decoder) = &self.payload else { return self.read(range.start, out) };
        match &decoder.head().kind {
            Kind::Raw => self.read(decoder.head().len + range.start, out),
            Kind::Constant(element) => {
                let mut element = element.clone();
                let turn = range.start % element.len();
                element.rotate_left(turn);
                out.chunks_mut(element.len()).for_each(|out| out.copy_from_slice(&element[..out.len()]));
                Ok(())
            }
            Kind::Tiled(tiled) => self.decode_rows_of(decoder, tiled, range, out),
        }
    }

    /// Row block by row block: whole rows straight to `out`, and through a buffer where the first or the last row is
    /// wanted in part.
    fn decode_rows_of(
        &self,
        decoder: &RowDecoder,
        tiled: &Tiled,
        range: Range<usize>,
        mut out: &mut [u8],
    ) -> Result<(), ArchiveError> {
        let (row_bytes, block_bytes) = (tiled.row_bytes(), tiled.row_block_bytes());
        let (mut read, mut rows) = (Vec::new(), Vec::new());
        let mut at = range.start;
        while at < range.end {
            let row_block = at / block_bytes;
            let first = row_block * block_bytes;
            let here = at - first..range.end.min(first + block_bytes) - first;
            let (bytes, rest) = out.split_at_mut(here.len());
            let lanes = here.start / row_bytes..here.end.div_ceil(row_bytes);
            let whole = lanes.start * row_bytes..lanes.end * row_bytes;
            self.read_ranges(&decoder.ranges(row_block), &mut read)?;
            if whole == here {
                let decoded = decoder.decode(row_block, lanes, &read, bytes);
                decoded.map_err(|error| self.not_decoded(error))?;
            } else {
                resize(&mut rows, whole.len()).map_err(|error| self.wrong(error))?;
                let decoded = decoder.decode(row_block, lanes, &read, &mut rows);
                decoded.map_err(|error| self.not_decoded(error))?;
                bytes.copy_from_slice(&rows[here.start - whole.start..here.end - whole.start]);
            }
            at = first + here.end;
            out = rest;
        }
        Ok(())
    }

    fn refuse_beyond(&self, range: &Range<usize>) -> Result<(), ArchiveError> {
        let len = self.original_len;
        match range.start <= range.end && range.end <= len {
            true => Ok(()),
            false => Err(self.wrong(CodecError::NoSuchBytes { start: range.start, end: range.end, len })),
        }
    }

    fn wrong(&self, error: CodecError) -> ArchiveError {
        ArchiveError::tensor(self.file().path(), self.name())(error)
    }
}
