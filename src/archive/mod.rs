//! The file: a valid safetensors file whose tensors are payloads of [`codec`](crate::codec).
//!
//! What writer and reader must agree on stands apart from either: [`mod@index`] (the container's JSON
//! header) and [`original_header`] (the original file's header, kept as a tensor). `docs/format.md`
//! describes the same for somebody without this source. Originals are safetensors or GGUF files;
//! [`Form`] is what differs between these.
//!
//! * [`compress`] and [`decompress`] turn a file or a model folder into the other form.
//! * [`Archive`] opens one compressed file; [`verify()`] checks a file or folder through and through.
//! * [`Archive::read_rows`] and [`Weight::extract`] read one tensor, or rows of one, alone.
//! * [`compress_bytes`] and [`compress_to`] are for files in memory and for pipes.
//! * [`ModelFiles`] reads the tensors of a model, whichever form and however many files it is in.
//!
//! All work is spread over the current rayon pool. Files are written under a temporary name in
//! their destination's folder, synced and renamed, so that a name never stands for half a file. An
//! interrupted folder keeps its finished files, and the next run goes on from there.

mod error;
mod extract;
mod folder;
mod form;
mod hints;
pub mod index;
mod limit;
mod locked;
mod memory;
mod mode;
mod model_files;
mod model_folder;
pub mod names;
pub mod original_header;
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
pub use folder::{compress, decompress, tensor_files_in};
pub use form::Form;
pub use hints::require_there;
pub use limit::Limit;
pub use memory::{compress_bytes, decompress_bytes, decompress_bytes_within};
pub use model_files::{ModelFiles, Stored, Weight, WeightSource};
pub use pipe::{compress_to, decompress_to};
pub use progress::{Progress, reported};
pub use reader::{Archive, ArchivedTensor, Outside, is_bantam};
pub use report::{Coding, FileReport, Report, TensorReport};
pub use restore::{decompress_file, decompress_opened};
pub use row_block::RowBlock;
pub use tensor_reader::TensorReader;
pub use verify::{Decode, Failure, Verification, verify, verify_with};
pub use writer::{compress_file, compress_opened};

pub use crate::codec::{Lossy, NoSuchLossy, Preset};

/// What messages call bytes that are in no file.
const IN_MEMORY: &str = "(in memory)";

/// How outputs are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Replace an output that is already there. Without it, that is an error.
    pub overwrite: bool,
    /// What to strive for when compressing.
    pub preset: Preset,
    /// How matrices are rounded when compressing. Without it, nothing is lost.
    pub lossy: Option<Lossy>,
    /// How large an original may be when it is restored.
    pub limit: Limit,
}

impl Options {
    /// What is done where nothing is said: outputs are not replaced, the smallest file, nothing is lost.
    pub const DEFAULT: Self =
        Self { overwrite: false, preset: Preset::Small, lossy: None, limit: Limit::Plausible };
}

impl From<Preset> for Options {
    fn from(preset: Preset) -> Self {
        Self { preset, ..Self::default() }
    }
}
