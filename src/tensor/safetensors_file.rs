//! A safetensors file, which is checked when it is opened.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::foreign::FRONT;
use super::safetensors_header::{Header, PREFIX, header_len, parse_header};
use super::{FileReader, HeaderError, ReadError, TensorEntry};

/// A safetensors file, mapped or in memory, whose header has been checked: every tensor's range lies in the
/// file and has the length for its type and shape, and together they cover the data without gaps.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Bytes,
    header_bytes: Vec<u8>,
    tensors: Vec<TensorEntry>,
    metadata: HashMap<String, String>,
}

impl SafetensorsFile {
    /// Opens and checks the file at `path`.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::check(path, Bytes::open(path)?)
    }

    pub(super) fn check(path: &Path, bytes: Bytes) -> Result<Self, ReadError> {
        let (reader, len) = (FileReader::new(path, &bytes), bytes.len());
        let read = |range| reader.read(range).map_err(ReadError::io(path));
        let refused = |error: HeaderError| match error.is_of_no_header() {
            true => read(0..len.min(FRONT)).map(|front| {
                ReadError::foreign(path, &front).unwrap_or_else(|| ReadError::no_header(path, error))
            }),
            false => Ok(ReadError::Header { path: path.into(), source: error }),
        };
        let parsed = match header_len(&read(0..len.min(PREFIX))?, len) {
            Err(error) => Err(error),
            Ok(header_len) => {
                let bytes = read(0..header_len)?;
                parse_header(&bytes).and_then(|header| header.require_len(len).map(|()| (bytes, header)))
            }
        };
        match parsed {
            Ok((header_bytes, Header { tensors, metadata, .. })) => {
                Ok(Self { path: path.into(), bytes, header_bytes, tensors, metadata })
            }
            Err(error) => Err(refused(error)?),
        }
    }

    /// The path of the file, or the name it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of this file by position. It can outlive this value.
    pub fn reader(&self) -> FileReader {
        FileReader::new(&self.path, &self.bytes)
    }

    /// The length prefix and the JSON header, exactly as in the file.
    pub fn header_bytes(&self) -> &[u8] {
        &self.header_bytes
    }

    /// The whole file. See [`MappedFile`](super::MappedFile) on what happens if the file is truncated.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The header's `__metadata__`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// The bytes of one of this file's tensors.
    ///
    /// # Panics
    /// If `entry` belongs to another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes[entry.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_overflow_are_refused() {
        // Nine tensors of 2^61 - 8 bytes: each is valid alone, but the sum wraps around.
        let size = (1u64 << 61) - 8;
        let tensors: Vec<String> = (0..9u64)
            .map(|i| {
                let (start, end) = (i.wrapping_mul(size), (i + 1).wrapping_mul(size));
                format!(r#""t{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
            })
            .collect();
        for count in [8, 9] {
            let json = format!("{{{}}}", tensors[..count].join(","));
            let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(json.as_bytes());
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            assert!(matches!(SafetensorsFile::open(file.path()), Err(ReadError::Header { .. })));
        }
    }
}
