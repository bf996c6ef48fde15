//! Output to a pipe. A container begins with data that is only known at the end, and an original must not be
//! passed on before its hashes are compared. So both are first written to an unnamed temporary file.

use std::io::{Seek, Write};
use std::path::Path;

use super::restore::write_original;
use super::sink::Sink;
use super::writer::write_container;
use super::{Archive, ArchiveError, FileReport, Options, Progress, reported};
use crate::tensor::SourceFile;

/// What messages call the pipe.
const PIPE: &str = "(output pipe)";

/// Writes the compressed form of `file` to `to`. The options can be just a preset. The system's folder for
/// temporary files needs room for the output.
pub fn compress_to(
    file: &SourceFile,
    to: &mut dyn Write,
    options: impl Into<Options>,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    let options = options.into();
    through_temporary(to, |sink| {
        let total = file.bytes().len() as u64;
        let mut report =
            reported(progress, total, "compressing", || write_container(file, sink, &options, progress))?;
        report.output = PIPE.into();
        Ok(report)
    })
}

/// Writes the original of `archive` to `to`, after comparing all checksums and hashes. The system's folder
/// for temporary files needs room for it. It writes nothing if the original is larger than
/// `options` [allow](super::Limit).
pub fn decompress_to(
    archive: &Archive,
    to: &mut dyn Write,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    options.limit.check(archive.path(), std::iter::once(archive), options.base.as_ref())?;
    through_temporary(to, |sink| {
        let work = || write_original(archive, options.base.as_ref(), sink, progress);
        let report = reported(progress, archive.original_len(), "decompressing", work)?;
        Ok(FileReport { output: PIPE.into(), ..report })
    })
}

/// Lets `build` fill an unnamed temporary file, and copies that to `to`.
pub(super) fn through_temporary<T>(
    to: &mut dyn Write,
    build: impl FnOnce(Sink) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    let temporary = || std::env::temp_dir();
    let mut file = tempfile::tempfile().map_err(ArchiveError::io("create a file in", &temporary()))?;
    let result = build(Sink::File(&file, &temporary()))?;
    file.rewind().map_err(ArchiveError::io("read", &temporary()))?;
    let copied = std::io::copy(&mut file, to).and_then(|_| to.flush());
    copied.map_err(ArchiveError::io("write to", Path::new(PIPE)))?;
    Ok(result)
}
