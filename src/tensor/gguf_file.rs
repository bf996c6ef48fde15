//! A GGUF file, checked once at the door and then handed out as plain entries.

use std::path::{Path, PathBuf};

use super::FileReader;
use super::bytes::Bytes;
use super::gguf_header::{GGUF_MAGIC, GgufHeader};
use super::{GgufError, MAX_HEADER_LEN, ReadError, TensorEntry};

/// Bytes of a file in which its header is looked for first.
const FRONT: usize = 1 << 20;

/// A GGUF file, mapped or in memory, whose header has been checked: every entry's range lies in the file, has the
/// length its type and shape ask for where the type is known, and shares no byte with another.
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

    /// Where the file is, or what it was said to be called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What reads this file by position. It can be kept longer than this.
    pub fn reader(&self) -> FileReader {
        FileReader::new(&self.path, &self.bytes)
    }

    /// The whole file. See [`MappedFile`](super::MappedFile) on what becomes of that if it is cut short.
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
    /// If `entry` is of another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes[entry.range.clone()]
    }

    /// All bytes that belong to no tensor, in file order: the header with its padding, what lies
    /// between tensors, and what follows the last. At most 100 MB.
    pub fn outside(&self) -> &[u8] {
        &self.outside
    }
}

fn bad(path: &Path, source: GgufError) -> ReadError {
    ReadError::Gguf { path: path.into(), source }
}

/// The header, of which nothing tells how long it is.
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

/// Every file begins with what belongs to no tensor.
fn read_outside(reader: &FileReader, tensors: &[TensorEntry], file_len: usize) -> Result<Vec<u8>, ReadError> {
    let ends = [0].into_iter().chain(tensors.iter().map(|tensor| tensor.range.end));
    let starts = tensors.iter().map(|tensor| tensor.range.start).chain([file_len]);
    let mut outside = Vec::new();
    for (end, start) in ends.zip(starts) {
        outside.extend_from_slice(&reader.read(end..start).map_err(ReadError::io(reader.path()))?);
    }
    Ok(outside)
}
