//! A tensor that is stored as the difference to one of another model, read by position.

use std::ops::Range;

use super::reader::ArchivedTensor;
use super::{Archive, ArchiveError, ModelFiles, TensorReader};
use crate::codec::grid::LANES;
use crate::codec::head::{FIXED_LEN, Head};
use crate::codec::{CodecError, DeltaDecoder, DeltaHead, Run, repeat_first, zeros};
use crate::tensor::FileReader;

/// A tensor whose difference is added to the base's tensor. Only the difference's head stays in memory.
#[derive(Debug)]
pub(super) struct DeltaReader {
    file: FileReader,
    name: String,
    /// Offset in the file of the payload.
    start: u64,
    decoder: DeltaDecoder,
    base: TensorReader,
    /// The hash of the base's tensor, where its file has it.
    base_hash: Option<blake3::Hash>,
}

impl DeltaHead {
    /// Reads and checks the head of `tensor` of `archive`, a difference.
    pub(super) fn of(archive: &Archive, tensor: &ArchivedTensor) -> Result<Self, ArchiveError> {
        let wrong = || ArchiveError::tensor(archive.path(), &tensor.name);
        let read = |bytes: &mut [u8]| {
            let read = archive.reader().read_exact_at(bytes, tensor.payload.start as u64);
            read.map_err(ArchiveError::read_again(archive.path()))
        };
        let mut front = [0; FIXED_LEN];
        let actual = tensor.payload.len();
        if actual < FIXED_LEN {
            return Err(wrong()(CodecError::Truncated { needed: FIXED_LEN, actual }));
        }
        read(&mut front)?;
        let mut head = zeros(Head::len_of(&front).clamp(FIXED_LEN, actual)).map_err(wrong())?;
        read(&mut head)?;
        let head = Self::parse_front(&head, actual).map_err(wrong())?;
        archive.check_delta_head(tensor, &head)?;
        Ok(head)
    }
}

impl DeltaReader {
    /// A reader of `tensor` of `archive`, which is stored as the difference to the tensor `of` of `base`.
    pub fn new(
        archive: &Archive,
        tensor: &ArchivedTensor,
        base: &ModelFiles,
        of: &str,
    ) -> Result<Self, ArchiveError> {
        let head = DeltaHead::of(archive, tensor)?;
        let weight = base.require(of)?;
        if (weight.dtype, weight.original_len) != (tensor.dtype, head.base_len) {
            return Err(ArchiveError::WrongPayload {
                file: weight.source().path().into(),
                tensor: of.into(),
                expected: format!(
                    "{} bytes of {}, for the difference in {}",
                    head.base_len,
                    tensor.dtype,
                    archive.path().display()
                ),
                found: format!("{} bytes of {}", weight.original_len, weight.dtype),
            });
        }
        let reader = Self {
            file: archive.reader(),
            name: tensor.name.clone(),
            start: tensor.payload.start as u64,
            decoder: DeltaDecoder::new(head),
            base: weight.reader()?,
            base_hash: weight.blake3(),
        };
        reader.base_hash.map_or(Ok(()), |actual| reader.require_base(actual))?;
        Ok(reader)
    }

    /// Bytes of the tensor that are best decoded together: a row block.
    pub fn band_bytes(&self) -> usize {
        LANES * self.decoder.head.row_bytes()
    }

    /// Compares the checksums that cover the bytes `range` of the tensor, in the difference and in the base.
    pub fn check_bytes(&self, range: Range<usize>) -> Result<(), ArchiveError> {
        let base_len = self.decoder.head.base_len;
        match range.end <= base_len {
            true => self.base.check_bytes(range.clone())?,
            false => self.base.check_bytes(0..base_len)?,
        }
        for group in self.decoder.head.groups_of(self.rows_of(&range)) {
            let bytes = self.read(self.decoder.head.group_bytes(group))?;
            self.decoder.head.check_group(group, &bytes).map_err(self.wrong())?;
        }
        Ok(())
    }

    /// Writes the bytes `range` of the tensor to `out`.
    pub fn decode_bytes(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), ArchiveError> {
        let row_bytes = self.decoder.head.row_bytes();
        let rows = self.rows_of(&range);
        let whole = rows.start * row_bytes..rows.end * row_bytes;
        let mut base = zeros(whole.len()).map_err(self.wrong())?;
        self.read_base(whole.start, &mut base)?;
        let place = self.decoder.head.bytes_of(rows.clone());
        let bytes = self.read(place.clone())?;
        let run = Run { bytes: &bytes, start: place.start };
        let decode =
            |out: &mut [u8]| self.decoder.decode_rows(run, rows.clone(), &base, out).map_err(self.wrong());
        if whole == range {
            return decode(out);
        }
        let mut decoded = zeros(whole.len()).map_err(self.wrong())?;
        decode(&mut decoded)?;
        out.copy_from_slice(&decoded[range.start - whole.start..range.end - whole.start]);
        Ok(())
    }

    /// Fills `out` with the base's bytes from `at` on; where it ends, it begins anew. However short the base is, it is read
    /// once.
    fn read_base(&self, at: usize, out: &mut [u8]) -> Result<(), ArchiveError> {
        let base_len = self.decoder.head.base_len;
        let (start, first) = (at % base_len, out.len().min(base_len));
        let to_end = first.min(base_len - start);
        self.base.decode_bytes(start..start + to_end, &mut out[..to_end])?;
        self.base.decode_bytes(0..first - to_end, &mut out[to_end..first])?;
        repeat_first(out, first);
        Ok(())
    }

    /// An error if the base's tensor is not the one to which the difference was made: it is read and hashed,
    /// where its file has no hash of it.
    pub fn explain(&self) -> Result<(), ArchiveError> {
        if self.base_hash.is_some() {
            return Ok(());
        }
        self.require_base(blake3::hash(&self.base.read_all()?))
    }

    fn require_base(&self, actual: blake3::Hash) -> Result<(), ArchiveError> {
        CodecError::unless_base(self.decoder.head.base, actual).map_err(self.wrong())
    }

    /// The rows that the bytes `range` of the tensor touch.
    fn rows_of(&self, range: &Range<usize>) -> Range<usize> {
        let row_bytes = self.decoder.head.row_bytes();
        range.start / row_bytes..range.end.div_ceil(row_bytes)
    }

    fn read(&self, range: Range<usize>) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = zeros(range.len()).map_err(self.wrong())?;
        let read = self.file.read_exact_at(&mut bytes, self.start + range.start as u64);
        read.map_err(ArchiveError::read_again(self.file.path()))?;
        Ok(bytes)
    }

    fn wrong(&self) -> impl FnOnce(CodecError) -> ArchiveError + '_ {
        ArchiveError::tensor(self.file.path(), &self.name)
    }
}
