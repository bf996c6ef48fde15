//! A GGUF file, which is checked when it is opened.

use std::path::{Path, PathBuf};

use super::FileReader;
use super::bytes::Bytes;
use super::gguf_header::{GGUF_MAGIC, GgufHeader};
use super::{GgufError, MAX_HEADER_LEN, ReadError, TensorEntry};

/// Length of the file's first part, in which the header is looked for first.
const FRONT: usize = 1 << 20;

/// A GGUF file, mapped or in memory, whose header has been checked: every tensor's range lies in the file,
/// has the length for its type and shape if the type is known, and overlaps no other.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    bytes: Bytes,
    outside: Vec<u8>,
    tensors: Vec<TensorEntry>,
}

impl GgufFile {
    /// Opens and checks the file at `path`. Versions 2 and 3 are read, little-endian.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::check(path, Bytes::open(path)?)
    }

    pub(super) fn check(path: &Path, bytes: Bytes) -> Result<Self, ReadError> {
        let reader = FileReader::new(path, &bytes);
        let header = read_header(&reader, bytes.len())?;
        let tensors = header.entries(bytes.len()).map_err(|source| bad(path, source))?;
        let outside = read_outside(&reader, &tensors, bytes.len())?;
        Ok(Self { path: path.into(), outside, bytes, tensors })
    }

    /// The path of the file, or the name it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of this file by position. It can outlive this value.
    pub fn reader(&self) -> FileReader {
        FileReader::new(&self.path, &self.bytes)
    }

    /// The whole file. See [`MappedFile`](super::MappedFile) on what happens if the file is truncated.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The bytes of one of this file's tensors.
    ///
    /// # Panics
    /// If `entry` belongs to another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes[entry.range.clone()]
    }

    /// All bytes outside tensors, in file order: the header with its padding, gaps between tensors, and bytes
    /// after the last. At most 100 MB.
    pub fn outside(&self) -> &[u8] {
        &self.outside
    }
}

fn bad(path: &Path, source: GgufError) -> ReadError {
    ReadError::Gguf { path: path.into(), source }
}

/// Reads the header, whose length is not stated anywhere.
fn read_header(reader: &FileReader, file_len: usize) -> Result<GgufHeader, ReadError> {
    let most = file_len.min(MAX_HEADER_LEN);
    let mut len = most.min(FRONT);
    loop {
        let front = reader.read(0..len).map_err(ReadError::io(reader.path()))?;
        match GgufHeader::of_file(&front, file_len) {
            Err(GgufError::Truncated { .. }) if len < most => len = (8 * len).min(most),
            Err(error) if !front.starts_with(&GGUF_MAGIC) => {
                let foreign = ReadError::foreign(reader.path(), &front);
                return Err(foreign.unwrap_or_else(|| bad(reader.path(), error)));
            }
            read => return read.map_err(|source| bad(reader.path(), source)),
        }
    }
}

/// Reads the bytes outside tensors. Every file begins with some.
fn read_outside(reader: &FileReader, tensors: &[TensorEntry], file_len: usize) -> Result<Vec<u8>, ReadError> {
    let ends = [0].into_iter().chain(tensors.iter().map(|tensor| tensor.range.end));
    let starts = tensors.iter().map(|tensor| tensor.range.start).chain([file_len]);
    let mut outside = Vec::new();
    for (end, start) in ends.zip(starts) {
        outside.extend_from_slice(&reader.read(end..start).map_err(ReadError::io(reader.path()))?);
    }
    Ok(outside)
}
