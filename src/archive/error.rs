//! Errors of reading and writing files.

use std::path::{Path, PathBuf};

use crate::codec::CodecError;
use crate::tensor::{Dtype, ReadError, SpecialFile};

/// Any error type, such as one from a caller's own decoder.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a file or model folder could not be compressed, opened, checked or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file is readable neither as safetensors nor as GGUF.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system reported an error.
    #[error("cannot {doing} {path}")]
    Io {
        /// The operation that was tried.
        doing: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A payload is damaged, or a tensor cannot be encoded.
    #[error("{file}: tensor {tensor}")]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A caller's decoder failed.
    #[error("{file}: tensor {tensor}: the decoder failed")]
    Decoder {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The decoder's error.
        source: BoxError,
    },
    /// The decoded bytes are not those that were compressed.
    #[error(
        "{file}: tensor {tensor} does not decode to the bytes that were compressed (BLAKE3 differs); \
         the file was changed after it was written; get it again from its source"
    )]
    Hash {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// The payload belongs to another tensor.
    #[error("{file}: tensor {tensor}: the payload holds {found}, the index says {expected}")]
    WrongPayload {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What the index says.
        expected: String,
        /// What the payload's head says.
        found: String,
    },
    /// A tensor is the difference to one of another model, which was not given.
    #[error(
        "{file}: tensor {tensor} is stored as the difference to that of {base}; name that model with --base"
    )]
    NeedsBase {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What the file calls the model.
        base: String,
    },
    /// There is no such tensor.
    #[error("{file}: there is no tensor {tensor}")]
    NoSuchTensor {
        /// The file or folder.
        file: PathBuf,
        /// The name asked for.
        tensor: String,
    },
    /// An element type that this version cannot store.
    #[error("{file}: tensor {tensor}: elements of type {dtype} cannot be stored by this version")]
    UnknownDtype {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A plain file where a compressed one is needed.
    #[error("{file} is not compressed by bantam; `bantam compress` makes a compressed file of it")]
    NotCompressed {
        /// The file.
        file: PathBuf,
    },
    /// A compressed file or folder where a plain one is needed.
    #[error("{file} is compressed already; `bantam decompress` gives the original back")]
    AlreadyCompressed {
        /// The file or folder.
        file: PathBuf,
    },
    /// The file was written by a later version.
    #[error(
        "{file} has format version {version}, but this version reads only {}, {} and {}; a newer bantam may read it",
        super::form::VERSION,
        super::form::VERSION_OF_FORMS,
        super::form::VERSION_OF_BASES
    )]
    UnknownVersion {
        /// The file.
        file: PathBuf,
        /// The version that the file names.
        version: String,
    },
    /// The container's header, index or kept original header is damaged or contradicts itself.
    #[error("{file}: damaged file: {what}; get it again from its source")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The header would be longer than safetensors allows.
    #[error(
        "{file}: its {tensors} tensors would need a header of {len} bytes in compressed form, more than the {} that \
         safetensors allows; join small tensors, or keep the file as it is",
        crate::tensor::MAX_HEADER_LEN
    )]
    HeaderTooLong {
        /// The file.
        file: PathBuf,
        /// How many tensors it has.
        tensors: usize,
        /// Header length needed.
        len: usize,
    },
    /// The original would exceed the size limit.
    #[error(
        "{path}: the restored output would have {len} bytes, more than the {most} that are allowed; weights do not \
         compress so well: it is nearly all zeros, or was made to fill a disk. If you trust it, raise the limit \
         (--max-size {len})"
    )]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Total bytes of its original or originals.
        len: u64,
        /// Maximum bytes that may be restored.
        most: u64,
    },
    /// The host is out of memory.
    #[error("{path}: out of memory for its {len} bytes; write them to a file instead")]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// Bytes requested.
        len: u64,
    },
    /// The output exists already.
    #[error("{path} exists already; choose another output, or allow it to be replaced (--force)")]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// Another process is writing the same output.
    #[error("{path} is in use: another process is writing the same output; wait until it has ended")]
    Busy {
        /// The unfinished folder.
        path: PathBuf,
    },
    /// Input and output are the same.
    #[error("{path} is both input and output; inputs are never changed, choose another output")]
    SameFile {
        /// The file or folder.
        path: PathBuf,
    },
    /// The input's name gives no name for the output.
    #[error("no name for the output can be derived from {path}; name one (-o)")]
    NoDefaultName {
        /// The input.
        path: PathBuf,
    },
    /// The folder's files do not make up a model.
    #[error("{path}: {what}")]
    Model {
        /// The folder or its index.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process has written to a file that is still being read, or truncated it.
    #[error("{file} was changed while it was in use; open it again")]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// The caller asked to stop.
    #[error("cancelled; the output was not written")]
    Cancelled,
    /// The folder has more than one set of weights.
    #[error(
        "{folder} holds more than one set of weights: {one}, and {other}; move one of them to another folder, or \
         name the file to use"
    )]
    SeveralSets {
        /// The folder.
        folder: PathBuf,
        /// A file of one set.
        one: String,
        /// Description of the other set.
        other: String,
    },
    /// An earlier run was interrupted while it replaced the folder.
    #[error(
        "replacing {path} was interrupted, so it is neither the old output nor the new one; \
         repeat the command that wrote it"
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// The output is a file but a folder is there, or the reverse.
    #[error(
        "{path} cannot be replaced, because it is a folder where a file is needed, or the reverse; choose another \
         output"
    )]
    InTheWay {
        /// The existing file or folder.
        path: PathBuf,
    },
    /// The folder to be replaced contains weights that do not belong to the model being written.
    #[error(
        "{path} would be left next to the weights of another model; remove it or move it away, or choose another \
         output"
    )]
    WhoseWeights {
        /// The weights.
        path: PathBuf,
    },
    /// The input is inside the folder that would be replaced.
    #[error(
        "{input} is in {output}, which would be replaced; inputs are never changed, choose another output"
    )]
    InputInOutput {
        /// The input.
        input: PathBuf,
        /// The output.
        output: PathBuf,
    },
    /// There is no file or folder at this path.
    #[error("there is no file or folder {path}{hint}")]
    NotThere {
        /// The path.
        path: PathBuf,
        /// A hint on what to do, or empty.
        hint: String,
    },
    /// An output next to the source would land in a hub's cache.
    #[error(
        "{path} is in a hub's cache, where other programs would mistake the output for one of the model's own files; \
         name an output elsewhere, such as -o {suggestion}"
    )]
    InHubCache {
        /// The input.
        path: PathBuf,
        /// A suggested path for the output.
        suggestion: PathBuf,
    },
    /// The output would replace something that is not a regular file.
    #[error("{path} is {kind}, which bantam does not replace with a file; name a file")]
    SpecialOutput {
        /// The output.
        path: PathBuf,
        /// The kind of file that is there.
        kind: SpecialFile,
    },
    /// The folder to write the output in does not exist.
    #[error("there is no folder {folder} to write {path} in; create it first, or choose another output")]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// The output.
        path: PathBuf,
    },
    /// The output is one file, but its path is an existing folder.
    #[error("{path} is a folder, but the output is one file; name a file in it or next to it")]
    FolderInTheWay {
        /// The output.
        path: PathBuf,
    },
}

impl ArchiveError {
    /// For `map_err`: the operating system failed at `doing` with `path`.
    pub(crate) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Io { doing, path: path.into(), source }
    }

    /// For `map_err`: `path` could no longer be read at a place that was readable when it was opened.
    pub(crate) fn read_again(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Changed { file: path.into() },
            _ => Self::io("read", path)(source),
        }
    }

    /// For `map_err`: tensor `tensor` of `file` is invalid.
    pub(crate) fn tensor<'a>(file: &'a Path, tensor: &'a str) -> impl FnOnce(CodecError) -> Self + 'a {
        move |source| Self::Tensor { file: file.into(), tensor: tensor.into(), source }
    }

    /// The tensor that the error is about, if there is one.
    pub fn tensor_name(&self) -> Option<&str> {
        match self {
            Self::Tensor { tensor, .. }
            | Self::Decoder { tensor, .. }
            | Self::Hash { tensor, .. }
            | Self::WrongPayload { tensor, .. }
            | Self::NoSuchTensor { tensor, .. }
            | Self::UnknownDtype { tensor, .. } => Some(tensor),
            _ => None,
        }
    }
}
