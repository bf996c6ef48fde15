//! A file of tensors in one of the supported formats.

use std::path::Path;
use std::sync::Arc;

use super::bytes::Bytes;
use super::gguf_header::GGUF_MAGIC;
use super::{FileReader, GgufFile, MappedFile, ReadError, SafetensorsFile, TensorEntry};

/// A checked file that can be compressed, mapped or in memory.
#[derive(Debug)]
pub enum SourceFile {
    /// A safetensors file. It may be a compressed file itself.
    Safetensors(SafetensorsFile),
    /// A GGUF file.
    Gguf(GgufFile),
}

impl SourceFile {
    /// Opens and checks the file at `path`. Its first bytes determine the format, not its name.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::check(path, Bytes::open(path)?)
    }

    /// Checks a file that is mapped already. Messages call it `path`.
    pub fn from_mapped(path: &Path, map: MappedFile) -> Result<Self, ReadError> {
        Self::check(path, Bytes::Mapped(map))
    }

    /// Checks a file in memory. Messages call it `path`.
    pub fn from_bytes(
        path: &Path,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<Self, ReadError> {
        Self::check(path, Bytes::Memory(Arc::new(bytes)))
    }

    fn check(path: &Path, bytes: Bytes) -> Result<Self, ReadError> {
        let front = FileReader::new(path, &bytes).read(0..bytes.len().min(GGUF_MAGIC.len()));
        Ok(if front.map_err(ReadError::io(path))? == GGUF_MAGIC {
            Self::Gguf(GgufFile::check(path, bytes)?)
        } else {
            Self::Safetensors(SafetensorsFile::check(path, bytes)?)
        })
    }

    /// The path of the file, or the name it was given.
    pub fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Gguf(file) => file.path(),
        }
    }

    /// A reader of this file by position. It can outlive this value.
    pub fn reader(&self) -> FileReader {
        match self {
            Self::Safetensors(file) => file.reader(),
            Self::Gguf(file) => file.reader(),
        }
    }

    /// Bytes of the file.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Always false, because there is a header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole file. See [`MappedFile`] on what happens if the file is truncated.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Safetensors(file) => file.bytes(),
            Self::Gguf(file) => file.bytes(),
        }
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorEntry] {
        match self {
            Self::Safetensors(file) => file.tensors(),
            Self::Gguf(file) => file.tensors(),
        }
    }

    /// The bytes of one of this file's tensors.
    ///
    /// # Panics
    /// If `entry` belongs to another, longer file.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes()[entry.range.clone()]
    }

    /// All bytes that belong to no tensor, in file order. A safetensors file has only its header.
    pub fn outside(&self) -> &[u8] {
        match self {
            Self::Safetensors(file) => file.header_bytes(),
            Self::Gguf(file) => file.outside(),
        }
    }
}
