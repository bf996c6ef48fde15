//! A safetensors file, checked once at the door and then handed out as plain entries.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::{Dtype, MappedFile};

/// Why a file could not be read as safetensors.
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
        source: safetensors::SafeTensorError,
    },
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, unique in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Where its bytes lie, counted from the start of the file. In bounds by construction.
    pub range: Range<usize>,
}

/// A mapped safetensors file whose header has been checked: every entry's range lies in the file
/// and has the length its type and shape ask for, and together they cover the data without gaps.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    map: MappedFile,
    data_start: usize,
    tensors: Vec<TensorEntry>,
    metadata: HashMap<String, String>,
}

impl SafetensorsFile {
    /// Maps and checks the file at `path`.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let map = MappedFile::open(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
        let (header_len, header) = SafeTensors::read_metadata(&map)
            .map_err(|source| ReadError::Header { path: path.into(), source })?;
        let data_start = 8 + header_len;
        let mut tensors: Vec<TensorEntry> = header
            .tensors()
            .into_iter()
            .map(|(name, info)| TensorEntry {
                name,
                dtype: info.dtype,
                shape: info.shape.clone(),
                range: data_start + info.data_offsets.0..data_start + info.data_offsets.1,
            })
            .collect();
        // The header's own order: a HashMap would make every run visit (and write) another one.
        // Empty tensors share their neighbour's offset, so names decide between those.
        tensors.sort_by(|a, b| {
            (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name))
        });
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self { path: path.into(), map, data_start, tensors, metadata })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length prefix and the JSON header, exactly as they stand in the file.
    pub fn header_bytes(&self) -> &[u8] {
        &self.map[..self.data_start]
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The header's `__metadata__`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// The bytes of one of this file's tensors.
    ///
    /// # Panics
    /// If `entry` is of another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.map[entry.range.clone()]
    }
}
