//! Compressing and restoring files in memory, for hosts without files.

use std::path::Path;
use std::sync::Mutex;

use super::progress::reported;
use super::restore::write_original;
use super::sink::Sink;
use super::writer::write_container;
use super::{Archive, ArchiveError, IN_MEMORY, Limit, Options, Progress};
use crate::tensor::SourceFile;

/// The compressed form of a plain safetensors or GGUF file whose bytes are `plain`: what
/// [`compress_file`](super::compress_file) would write with these options. The options can be just a preset.
pub fn compress_bytes(
    plain: impl AsRef<[u8]> + Send + Sync + 'static,
    options: impl Into<Options>,
    progress: &dyn Progress,
) -> Result<Vec<u8>, ArchiveError> {
    let file = SourceFile::from_bytes(Path::new(IN_MEMORY), plain)?;
    let options = options.into();
    reported(progress, file.bytes().len() as u64, "compressing", || {
        in_memory(|sink| write_container(&file, sink, &options, progress).map(drop))
    })
}

/// The original of a compressed file whose bytes are `compressed`. It compares every checksum and hash. The
/// maximum size is [`Limit::Plausible`].
pub fn decompress_bytes(
    compressed: impl AsRef<[u8]> + Send + Sync + 'static,
    progress: &dyn Progress,
) -> Result<Vec<u8>, ArchiveError> {
    decompress_bytes_within(compressed, Limit::default(), progress)
}

/// Like [`decompress_bytes`], with `limit` as the maximum size. Before it allocates the original, it compares
/// the length that the compressed file states with the file's contents; running out of memory is an error.
pub fn decompress_bytes_within(
    compressed: impl AsRef<[u8]> + Send + Sync + 'static,
    limit: Limit,
    progress: &dyn Progress,
) -> Result<Vec<u8>, ArchiveError> {
    let archive = Archive::from_bytes(compressed)?;
    limit.check(archive.path(), std::iter::once(&archive), None)?;
    let len = archive.original_len();
    reported(progress, len, "decompressing", || {
        in_memory(|sink| write_original(&archive, None, sink, progress).map(drop))
    })
}

fn in_memory(write: impl FnOnce(Sink) -> Result<(), ArchiveError>) -> Result<Vec<u8>, ArchiveError> {
    let memory = Mutex::new(Vec::new());
    write(Sink::Memory(&memory))?;
    Ok(memory.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}
