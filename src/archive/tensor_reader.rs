//! Reading a tensor by position.
//!
//! Pages of a mapped file count as the process's memory, and the mapping faults if the file is truncated.
//! Reading by position needs only a bounded buffer for a tensor of any size, and a failure is an error.

use std::ops::Range;
use std::sync::Arc;

use super::reader::ArchivedTensor;
use super::{Archive, ArchiveError, Weight};
use crate::codec::grid::SECTION_ALIGN;
use crate::codec::head::{FIXED_LEN, Head, Kind};
use crate::codec::split::unit_matrix;
use crate::codec::{CodecError, Payload, Precision, RowDecoder, resize, zeros};
use crate::tensor::{Dtype, FileReader};

/// Bytes that are read at a time if they are only checked.
pub(super) const PIECE: usize = 256 << 10;

/// A tensor whose file is read by position: only the head of its payload stays in memory.
///
/// It can outlive the files that it was made from. Clones share the memory.
#[derive(Debug, Clone)]
pub struct TensorReader {
    file: FileReader,
    name: Arc<str>,
    /// Element type.
    dtype: Dtype,
    /// Rows of the tensor seen as a matrix: see [`unit_matrix`].
    rows: usize,
    /// Bytes of the original.
    pub(super) original_len: usize,
    /// Offset in the file of its bytes or of its payload.
    start: u64,
    /// `None` for a plain tensor.
    pub(super) payload: Option<Arc<RowDecoder>>,
}

impl Weight<'_> {
    /// A reader of this tensor by position. If the tensor is compressed, this reads and checks its head.
    pub fn reader(&self) -> Result<TensorReader, ArchiveError> {
        self.opened(self.opening()()?)
    }

    /// Like [`Weight::reader`] in two steps. This reads nothing; the returned function reads the head, on the
    /// thread that calls it. Pass its result to [`Weight::opened`].
    pub(crate) fn opening(
        &self,
    ) -> impl FnOnce() -> Result<TensorReader, ArchiveError> + Send + 'static + use<> {
        let (file, range) = self.place();
        let is_compressed = self.is_compressed();
        let reader =
            TensorReader::new(file, self.name, self.dtype, self.shape, self.original_len, range.start);
        move || if is_compressed { reader.with_head(range.len()) } else { Ok(reader) }
    }

    /// Accepts the reader from [`Weight::opening`] if its head belongs to this tensor.
    pub(crate) fn opened(&self, reader: TensorReader) -> Result<TensorReader, ArchiveError> {
        reader.head().map_or(Ok(()), |head| self.check_head(head))?;
        Ok(reader)
    }
}

impl Archive {
    /// A reader of `tensor` of this file by position. This reads and checks its head.
    pub(super) fn tensor_reader(&self, tensor: &ArchivedTensor) -> Result<TensorReader, ArchiveError> {
        let ArchivedTensor { name, dtype, shape, original_len, payload, .. } = tensor;
        let reader = TensorReader::new(self.reader(), name, *dtype, shape, *original_len, payload.start);
        let reader = reader.with_head(payload.len())?;
        reader.head().map_or(Ok(()), |head| self.check_head(tensor, head))?;
        Ok(reader)
    }
}

impl TensorReader {
    /// Makes a reader without reading anything. `start` is the offset in the file of the tensor's bytes or
    /// payload.
    fn new(
        file: FileReader,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        original_len: usize,
        start: usize,
    ) -> Self {
        let rows = unit_matrix(dtype, shape).map_or(1, |matrix| matrix.rows);
        Self { file, name: name.into(), dtype, rows, original_len, start: start as u64, payload: None }
    }

    /// Reads the head of the tensor's payload, which has `len` bytes.
    fn with_head(mut self, len: usize) -> Result<Self, ArchiveError> {
        self.payload = Some(Arc::new(RowDecoder::new(self.read_head(len)?)));
        Ok(self)
    }

    /// The tensor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The payload's head; `None` for a plain tensor.
    pub fn head(&self) -> Option<&Head> {
        self.payload.as_ref().map(|decoder| decoder.head())
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Rows of the tensor seen as a matrix, whose columns are its last dimension.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of that matrix.
    pub fn cols(&self) -> usize {
        self.row_bytes() * 8 / self.dtype.bitsize().max(1)
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.original_len / self.rows.max(1)
    }

    /// The reader of the tensor's file.
    pub fn file(&self) -> &FileReader {
        &self.file
    }

    /// Byte offset in the file of the tensor's bytes, or of its payload.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Fills `bytes` from byte `at` of the payload, or of the plain tensor.
    pub fn read(&self, at: usize, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        let read = self.file.read_exact_at(bytes, self.start + at as u64);
        read.map_err(ArchiveError::read_again(self.file.path()))
    }

    /// Returns an error if the file was written to since this reader was made, according to the system.
    pub fn require_unchanged(&self) -> Result<(), ArchiveError> {
        match self.file.is_unchanged() {
            true => Ok(()),
            false => Err(ArchiveError::Changed { file: self.file.path().into() }),
        }
    }

    /// The error to report if the payload cannot be decoded: that the file was changed after it was checked,
    /// if it was; otherwise `error`.
    pub(super) fn not_decoded(&self, error: CodecError) -> ArchiveError {
        let wrong = ArchiveError::tensor(self.file.path(), &self.name);
        self.require_unchanged().err().unwrap_or_else(|| wrong(error))
    }

    /// Compares every section that `precision` reads with its checksums. A plain tensor has no checksums.
    pub fn check(&self, precision: Precision) -> Result<(), ArchiveError> {
        self.check_while(precision, &|| Ok(()))
    }

    /// Like [`TensorReader::check`], but calls `go_on` before every megabyte and stops at its error.
    pub(crate) fn check_while(
        &self,
        precision: Precision,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let Some(head) = self.head() else { return Ok(()) };
        let planes = match &head.kind {
            Kind::Tiled(tiled) => tiled.kept(precision).planes,
            _ => usize::MAX,
        };
        self.check_groups_while(head, 0..head.groups(), planes, go_on)
    }

    /// All original bytes, checked. Use it for small tensors.
    pub fn read_all(&self) -> Result<Vec<u8>, ArchiveError> {
        let wrong = || ArchiveError::tensor(self.file.path(), &self.name);
        let Some(head) = self.head() else {
            let mut bytes = zeros(self.original_len).map_err(wrong())?;
            self.read(0, &mut bytes)?;
            return Ok(bytes);
        };
        let len = match &head.kind {
            Kind::Raw => head.len + self.original_len.next_multiple_of(SECTION_ALIGN),
            Kind::Constant(_) => head.len,
            Kind::Tiled(tiled) => tiled.planes.last().map_or(tiled.coded.end, |plane| plane.end),
        };
        let mut bytes = zeros(len).map_err(wrong())?;
        self.read(0, &mut bytes)?;
        let decoded = Payload::parse(&bytes).and_then(|payload| {
            payload.check()?;
            payload.decode()
        });
        decoded.map_err(wrong())
    }

    /// The original bytes of some rows of the matrix that the tensor is folded to: a row is all elements along
    /// the last dimension. The memory needed grows only with these rows. Nothing but the range is checked:
    /// compare the checksums before, with [`check`](Self::check). [`Archive::read_rows`](super::Archive::read_rows)
    /// reads rows of the first dimension, and checks what it reads.
    pub fn read_matrix_rows(&self, rows: Range<usize>) -> Result<Vec<u8>, ArchiveError> {
        let row_bytes = self.row_bytes();
        let wrong = || ArchiveError::tensor(self.file.path(), &self.name);
        if rows.start > rows.end || rows.end > self.rows {
            let (start, end) = (rows.start, rows.end);
            return Err(wrong()(CodecError::NoSuchRows { start, end, rows: self.rows }));
        }
        let mut out = zeros(rows.len() * row_bytes).map_err(wrong())?;
        self.decode_bytes(rows.start * row_bytes..rows.end * row_bytes, &mut out)?;
        Ok(out)
    }

    /// The elements of `bytes`, such as [`TensorReader::read_matrix_rows`] returns, at `precision`. The tensor must
    /// be BF16, F16 or F32.
    pub fn values<'a>(&'a self, bytes: &'a [u8], precision: Precision) -> impl Iterator<Item = f32> + 'a {
        let kept = self.head().and_then(|head| match &head.kind {
            Kind::Tiled(tiled) => Some((tiled.kept(precision), &tiled.split)),
            _ => None,
        });
        let width = self.dtype.bitsize() / 8;
        bytes.chunks_exact(width.max(1)).map(move |element| {
            let unit = element.iter().rev().fold(0u32, |unit, &byte| unit << 8 | u32::from(byte));
            let unit = kept.as_ref().map_or(unit, |(kept, split)| kept.of_unit(split, unit));
            match self.dtype {
                Dtype::BF16 => half::bf16::from_bits(unit as u16).to_f32(),
                Dtype::F16 => half::f16::from_bits(unit as u16).to_f32(),
                _ => f32::from_bits(unit),
            }
        })
    }

    /// Fills `read` with these ranges of the payload, end to end.
    pub(super) fn read_ranges(
        &self,
        ranges: &[Range<usize>],
        read: &mut Vec<u8>,
    ) -> Result<(), ArchiveError> {
        self.read_first_ranges(ranges, ranges.len(), read)
    }

    /// Like `read_ranges`, but reads only the first `count` ranges and fills the others with zeros.
    pub(super) fn read_first_ranges(
        &self,
        ranges: &[Range<usize>],
        count: usize,
        read: &mut Vec<u8>,
    ) -> Result<(), ArchiveError> {
        let len = ranges.iter().map(Range::len).sum();
        resize(read, len).map_err(ArchiveError::tensor(self.file.path(), &self.name))?;
        let mut rest = &mut read[..];
        for (i, range) in ranges.iter().enumerate() {
            let (here, after) = rest.split_at_mut(range.len());
            match i < count {
                true => self.read(range.start, here)?,
                false => here.fill(0),
            }
            rest = after;
        }
        Ok(())
    }

    /// Reads the head of the payload, which has `len` bytes.
    fn read_head(&self, len: usize) -> Result<Head, ArchiveError> {
        let wrong = || ArchiveError::tensor(self.file.path(), &self.name);
        let mut front = [0; FIXED_LEN];
        if len < FIXED_LEN {
            return Err(wrong()(CodecError::Truncated { needed: FIXED_LEN, actual: len }));
        }
        self.read(0, &mut front)?;
        // A head cannot be longer than its payload, whatever length it states.
        let mut bytes = zeros(Head::len_of(&front).clamp(FIXED_LEN, len)).map_err(wrong())?;
        self.read(0, &mut bytes)?;
        Head::parse_front(&bytes, len).map_err(wrong())
    }
}
