//! The file: a valid safetensors file whose tensors are payloads of [`codec`](crate::codec).
//!
//! Writer and reader share two modules: [`mod@index`] (the container's JSON header) and
//! [`original_header`] (the original file's header, kept as a tensor). `docs/format.md` describes the
//! format without reference to this source. Originals are safetensors or GGUF files; [`Form`] says which.
//!
//! * [`compress`] and [`decompress`] convert a file or a model folder.
//! * [`Archive`] opens one compressed file; [`verify()`] checks a file or folder completely.
//! * [`Archive::read_rows`] and [`Weight::extract`] read one tensor, or rows of one, alone.
//! * [`compress_bytes`] and [`compress_to`] are for files in memory and for pipes.
//! * [`ModelFiles`] reads the tensors of a model, compressed or not, from any number of files.
//!
//! All work is spread over the current rayon pool. Files are written under a temporary name in
//! their destination's folder, synced and renamed, so that no name ever belongs to a partial file. An
//! interrupted folder keeps its finished files, and the next run continues from there.

mod against;
mod coded;
#[cfg(test)]
mod deaths;
mod delta_reader;
mod disk;
mod error;
mod extract;
mod folder;
mod form;
mod hints;
mod hub_cache;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod index;
mod limit;
mod locked;
mod memory;
mod mode;
mod model_files;
mod model_folder;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod names;
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub mod original_header;
mod original_layout;
mod output;
mod output_folder;
mod pipe;
mod progress;
pub(crate) mod python_json;
mod read_tensor;
mod reader;
mod report;
mod restore;
mod row_block;
mod shard_index;
mod sink;
mod tensor_bytes;
mod tensor_reader;
mod unchanged;
mod verify;
mod windows;
mod writer;

pub use error::{ArchiveError, BoxError};
#[cfg(feature = "runtime")]
pub(crate) use folder::publish_folder;
pub use folder::{compress, decompress, tensor_files_in};
pub use form::Form;
pub use hints::require_there;
pub(crate) use hub_cache::hub_model;
pub use limit::Limit;
pub use memory::{compress_bytes, decompress_bytes, decompress_bytes_within};
pub use model_files::{ModelFiles, Stored, Weight, WeightSource};
#[cfg(feature = "runtime")]
pub(crate) use output_folder::finish_interrupted;
pub use pipe::{compress_to, decompress_to};
pub use progress::{Progress, reported};
pub use reader::{Archive, ArchivedTensor, Outside, is_bantam};
pub use report::{Coding, FileReport, Report, TensorReport};
pub use restore::{decompress_file, decompress_opened};
pub use row_block::RowBlock;
pub use tensor_reader::TensorReader;
pub use verify::{Decode, Failure, Verification, verify, verify_with, verify_with_base};
pub use writer::{compress_file, compress_opened};

pub use crate::codec::{Lossy, NoSuchLossy, Preset};

/// The path that messages use for bytes in memory.
const IN_MEMORY: &str = "(in memory)";

/// How outputs are made. Start from [`Options::DEFAULT`] or [`Options::REPLACE`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Replace an output that exists. Otherwise an existing output is an error.
    pub overwrite: bool,
    /// Whether compressing optimises for size or speed.
    pub preset: Preset,
    /// How compressing rounds matrices; `None` is lossless.
    pub lossy: Option<Lossy>,
    /// Maximum size of a restored original.
    pub limit: Limit,
    /// The model to which tensors are stored as differences, where that is smaller. Rounded tensors are not.
    /// Restoring needs it again.
    pub base: Option<ModelFiles>,
}

impl Options {
    /// The default options: outputs are not replaced, files are as small as possible, nothing is lost.
    pub const DEFAULT: Self =
        Self { overwrite: false, preset: Preset::Small, lossy: None, limit: Limit::Plausible, base: None };

    /// The default options, except that an output that exists is replaced.
    pub const REPLACE: Self = Self { overwrite: true, ..Self::DEFAULT };
}

setters! {
    Options {
        overwrite: bool => with_overwrite,
        preset: Preset => with_preset,
        lossy: Option<Lossy> => with_lossy,
        limit: Limit => with_limit,
        base: Option<ModelFiles> => with_base,
    }
}

impl From<Preset> for Options {
    fn from(preset: Preset) -> Self {
        Self { preset, ..Self::default() }
    }
}
