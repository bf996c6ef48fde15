//! Reading one tensor, or rows of one, and only its bytes.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use super::output::{OutputFile, reclaim, refuse_same};
use super::pipe::through_temporary;
use super::progress::{check, reported};
use super::reader::ArchivedTensor;
use super::sink::Sink;
use super::windows::in_pieces;
use super::{Archive, ArchiveError, Options, Progress, TensorReader, Weight};
use crate::codec::{CodecError, zeros};
use crate::tensor::Dtype;

/// Maximum bytes that are held in memory at a time.
const STRETCH_BYTES: usize = 32 << 20;

impl Archive {
    /// The original bytes of the tensor called `name`. It compares the checksums and the hash.
    pub fn read_tensor(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let tensor = self.require(name)?;
        let bytes = self.read(tensor, 0..tensor.original_len)?;
        match blake3::hash(&bytes) == tensor.blake3 {
            true => Ok(bytes),
            false => Err(ArchiveError::Hash { file: self.path().into(), tensor: name.into() }),
        }
    }

    /// The original bytes of some rows of the tensor called `name`; a row is all elements with the same
    /// index in the first dimension. It reads only the checksum groups and row blocks that contain these
    /// rows, and compares their checksums.
    pub fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<u8>, ArchiveError> {
        let tensor = self.require(name)?;
        let wrong = ArchiveError::tensor(self.path(), name);
        if tensor.quantized.is_some() {
            return Err(wrong(CodecError::QuantizedRows));
        }
        let range = bytes_of_rows(tensor.dtype, &tensor.shape, rows).map_err(wrong)?;
        self.read(tensor, range)
    }

    fn read(&self, tensor: &ArchivedTensor, range: Range<usize>) -> Result<Vec<u8>, ArchiveError> {
        let coded = self.tensor_reader(tensor)?;
        coded.check_bytes(range.clone())?;
        // The length is at most that of the tensor, which the payload bounds.
        let mut out = zeros(range.len()).map_err(ArchiveError::tensor(self.path(), &tensor.name))?;
        decode(&coded, &range, &mut out)?;
        Ok(out)
    }
}

impl Weight<'_> {
    /// The byte range of `rows` in the tensor; rows are counted along its first dimension.
    pub fn bytes_of_rows(&self, rows: Range<usize>) -> Result<Range<usize>, ArchiveError> {
        let wrong = ArchiveError::tensor(self.source().path(), self.name);
        match self.quantized {
            Some(_) => Err(wrong(CodecError::QuantizedRows)),
            None => bytes_of_rows(self.dtype, self.shape, rows).map_err(wrong),
        }
    }

    /// Writes the bytes `range` of the tensor to the file `dst`. If the tensor is compressed, this checks the
    /// checksum groups that the range touches, and the hash if the range is the whole tensor. The memory
    /// needed does not grow with the tensor.
    pub fn extract(
        &self,
        range: Range<usize>,
        dst: &Path,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<(), ArchiveError> {
        refuse_same(self.source().path(), dst)?;
        reclaim(dst);
        let output = OutputFile::create(dst, options, Some(self.source().path()))?;
        self.extract_into(range, output.sink(), progress)?;
        output.publish()
    }

    /// Like [`Weight::extract`], but to a pipe; it writes nothing before everything is checked.
    pub fn extract_to(
        &self,
        range: Range<usize>,
        to: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(), ArchiveError> {
        through_temporary(to, |sink| self.extract_into(range, sink, progress))
    }

    fn extract_into(
        &self,
        range: Range<usize>,
        sink: Sink,
        progress: &dyn Progress,
    ) -> Result<(), ArchiveError> {
        reported(progress, range.len() as u64, "extracting", || match self.is_compressed() {
            false => self.copy_into(range, sink, progress),
            true => self.decode_into(&self.reader()?, range, sink, progress),
        })
    }

    /// Copies the bytes `range` of a plain tensor.
    fn copy_into(
        &self,
        range: Range<usize>,
        sink: Sink,
        progress: &dyn Progress,
    ) -> Result<(), ArchiveError> {
        let file = self.source().path();
        let (reader, place) = self.place();
        if range.start > range.end || range.end > place.len() {
            return Err(ArchiveError::tensor(file, self.name)(no_such_bytes(&range, place.len())));
        }
        let mut buffer = vec![0; STRETCH_BYTES.min(range.len())];
        for at in (0..range.len()).step_by(STRETCH_BYTES) {
            check(progress)?;
            let stretch = &mut buffer[..STRETCH_BYTES.min(range.len() - at)];
            let from = place.start + range.start + at;
            reader.read_exact_at(stretch, from as u64).map_err(ArchiveError::read_again(file))?;
            sink.put(at as u64, stretch)?;
            progress.advance(stretch.len() as u64);
        }
        Ok(())
    }

    fn decode_into(
        &self,
        coded: &TensorReader,
        range: Range<usize>,
        sink: Sink,
        progress: &dyn Progress,
    ) -> Result<(), ArchiveError> {
        coded.check_bytes(range.clone())?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = Vec::new();
        // Stretches of whole row blocks, except at the ends, so that no row block is decoded twice.
        let stretch = (STRETCH_BYTES / coded.band_bytes() * coded.band_bytes()).max(STRETCH_BYTES / 2);
        let mut at = range.start;
        while at < range.end {
            check(progress)?;
            let here = at..((at / stretch + 1) * stretch).min(range.end);
            buffer.resize(here.len(), 0);
            decode(coded, &here, &mut buffer)?;
            hasher.update_rayon(&buffer);
            sink.put((at - range.start) as u64, &buffer)?;
            progress.advance(here.len() as u64);
            at = here.end;
        }
        let differs =
            range.len() == self.original_len && self.blake3().is_some_and(|h| h != hasher.finalize());
        match differs {
            true => Err(ArchiveError::Hash { file: self.source().path().into(), tensor: self.name.into() }),
            false => Ok(()),
        }
    }
}

fn decode(coded: &TensorReader, range: &Range<usize>, out: &mut [u8]) -> Result<(), ArchiveError> {
    in_pieces(coded.band_bytes(), range, out, |piece, out| coded.decode_bytes(piece, out))
}

fn no_such_bytes(range: &Range<usize>, len: usize) -> CodecError {
    CodecError::NoSuchBytes { start: range.start, end: range.end, len }
}

/// The byte range of `rows` in a tensor that was checked when its file was opened, so that its length cannot
/// overflow.
fn bytes_of_rows(dtype: Dtype, shape: &[usize], rows: Range<usize>) -> Result<Range<usize>, CodecError> {
    let count = shape.first().copied().unwrap_or(0);
    if rows.start > rows.end || rows.end > count {
        return Err(CodecError::NoSuchRows { start: rows.start, end: rows.end, rows: count });
    }
    // In an empty tensor, the other dimensions can be arbitrarily large.
    let elements = shape.iter().skip(1).try_fold(1usize, |n, &d| n.checked_mul(d));
    let row_bits = elements.and_then(|n| n.checked_mul(dtype.bitsize()));
    let at = |row: usize| row_bits.and_then(|bits| bits.checked_mul(row)).filter(|bits| bits % 8 == 0);
    match (at(rows.start), at(rows.end)) {
        (Some(start), Some(end)) => Ok(start / 8..end / 8),
        _ => Err(CodecError::RowsAreNotBytes { start: rows.start, end: rows.end }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_along_the_first_dimension() {
        let of = |dtype, shape: &[usize], rows| bytes_of_rows(dtype, shape, rows);
        assert_eq!(of(Dtype::BF16, &[10, 3], 2..4), Ok(12..24));
        assert_eq!(of(Dtype::F32, &[10], 9..10), Ok(36..40));
        assert_eq!(of(Dtype::U8, &[4, 3, 5], 1..4), Ok(15..60));
        assert_eq!(of(Dtype::BF16, &[4, 0], 0..4), Ok(0..0));
        assert_eq!(of(Dtype::F4, &[4, 5], 2..4), Ok(5..10));
        assert!(matches!(of(Dtype::F4, &[4, 5], 1..2), Err(CodecError::RowsAreNotBytes { .. })));
        for (shape, rows) in
            [(&[4, 3][..], 3..5), (&[], 0..1), (&[0, 3], 0..1), (&[4], Range { start: 2, end: 1 })]
        {
            assert!(matches!(of(Dtype::U8, shape, rows), Err(CodecError::NoSuchRows { .. })));
        }
        assert!(of(Dtype::F64, &[0, usize::MAX, 2], 0..0).is_err());
    }
}
