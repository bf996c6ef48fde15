//! A safetensors file, checked once at the door and then handed out as plain entries.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;
use safetensors::tensor::Metadata;

use super::bytes::Bytes;
use super::{Dtype, FileReader, GgufError, Quantized};

/// What the format itself sets as the longest header.
pub(crate) const MAX_HEADER_LEN: usize = 100_000_000;

/// Why a file of tensors could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header is damaged, or describes other bytes than the file holds.
    #[error("{path}: not a usable safetensors file: {source}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SafeTensorError,
    },
    /// The same of a GGUF file.
    #[error("{path}: not a usable GGUF file: {source}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, unique in the file.
    pub name: String,
    /// Element type; U8 where `quantized` says more.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the number of bytes where `quantized` says more.
    pub shape: Vec<usize>,
    /// What the tensor is, where it is of no [`Dtype`]. Only in GGUF files.
    pub quantized: Option<Quantized>,
    /// Where its bytes lie, counted from the start of the file. In bounds by construction.
    pub range: Range<usize>,
}

/// A safetensors file, mapped or in memory, whose header has been checked: every entry's range lies
/// in the file and has the length its type and shape ask for, and together they cover the data without gaps.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Bytes,
    data_start: usize,
    tensors: Vec<TensorEntry>,
    metadata: HashMap<String, String>,
}

impl SafetensorsFile {
    /// Maps and checks the file at `path`.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::check(path, Bytes::open(path)?)
    }

    pub(super) fn check(path: &Path, bytes: Bytes) -> Result<Self, ReadError> {
        let bad = |source| ReadError::Header { path: path.into(), source };
        let (data_start, header) = parse_header(&bytes).map_err(bad)?;
        if data_start.checked_add(header.data_len()) != Some(bytes.len()) {
            return Err(bad(SafeTensorError::MetadataIncompleteBuffer));
        }
        let tensors = entries(&header, data_start);
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self { path: path.into(), bytes, data_start, tensors, metadata })
    }

    /// Where the file is, or what it was said to be called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What reads this file by position. It can be kept longer than this.
    pub fn reader(&self) -> FileReader {
        FileReader::new(&self.path, &self.bytes)
    }

    /// The length prefix and the JSON header, exactly as they stand in the file.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes[..self.data_start]
    }

    /// The whole file.
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
    /// If `entry` is of another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes[entry.range.clone()]
    }
}

/// Reads the header that `bytes` begin with and returns where the data starts. Ranges are checked
/// against types, shapes and each other; whether the data is as long as they say is the caller's
/// question.
///
/// `SafeTensors::read_metadata` does the same with the data at hand, but adds up the lengths a
/// hostile header claims without a check for overflow.
pub(crate) fn parse_header(bytes: &[u8]) -> Result<(usize, Metadata), SafeTensorError> {
    let prefix: [u8; 8] =
        bytes.get(..8).and_then(|b| b.try_into().ok()).ok_or(SafeTensorError::HeaderTooSmall)?;
    let len = usize::try_from(u64::from_le_bytes(prefix))
        .ok()
        .filter(|&len| len <= MAX_HEADER_LEN)
        .ok_or(SafeTensorError::HeaderTooLarge)?;
    let json = bytes.get(8..8 + len).ok_or(SafeTensorError::InvalidHeaderLength)?;
    let json = std::str::from_utf8(json).map_err(SafeTensorError::InvalidHeader)?;
    let header = serde_json::from_str(json).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    Ok((8 + len, header))
}

/// The tensors of a header in file order, with ranges counted from the start of the file.
///
/// A `HashMap` would make every run visit (and write) another order. Empty tensors share their
/// neighbour's offset, so names decide between those.
pub(crate) fn entries(header: &Metadata, data_start: usize) -> Vec<TensorEntry> {
    let at = |offset: usize| data_start.saturating_add(offset);
    let mut tensors: Vec<TensorEntry> = header
        .tensors()
        .into_iter()
        .map(|(name, info)| TensorEntry {
            name,
            dtype: info.dtype,
            shape: info.shape.clone(),
            quantized: None,
            range: at(info.data_offsets.0)..at(info.data_offsets.1),
        })
        .collect();
    tensors.sort_by(|a, b| (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name)));
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_overflow_are_refused() {
        // Nine tensors of 2^61 - 8 bytes: each is fine alone, the sum wraps around.
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
