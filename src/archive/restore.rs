//! Restoring the plain file from a compressed one.

use std::path::Path;

use super::output::{OutputFile, reclaim, refuse_same};
use super::progress::reported;
use super::sink::Sink;
use super::windows::decode_all;
use super::{Archive, ArchiveError, FileReport, ModelFiles, Options, Progress};

/// Restores the original of the compressed file `src` to `dst`, byte for byte. It compares every checksum and
/// hash, and `dst` appears only if all of them match. The memory needed does not grow with the file. It
/// writes nothing if the original is larger than `options` [allow](super::Limit).
pub fn decompress_file(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    decompress_opened(&Archive::open(src)?, dst, options, progress)
}

/// Like [`decompress_file`], for an archive that is already open.
pub fn decompress_opened(
    archive: &Archive,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    options.limit.check(archive.path(), std::iter::once(archive), options.base.as_ref())?;
    let work = || decompress_begun(archive, dst, options, progress);
    reported(progress, archive.original_len(), "decompressing", work)
}

/// Restores an open file; the caller has begun the progress.
pub(super) fn decompress_begun(
    archive: &Archive,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    refuse_same(archive.path(), dst)?;
    reclaim(dst);
    let output = OutputFile::create(dst, options, Some(archive.path()))?;
    let mut report = write_original(archive, options.base.as_ref(), output.sink(), progress)?;
    output.publish()?;
    report.output = dst.into();
    Ok(report)
}

/// Writes the original to `sink`. The sink's contents are valid only if no error is returned. The report
/// names no output.
pub(super) fn write_original(
    archive: &Archive,
    base: Option<&ModelFiles>,
    sink: Sink,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    // All heads are checked before the first byte is written. Then payload lengths bound all offsets in the
    // original, and no false index entry can make a sink grow without limit.
    let report = archive.report()?;
    let delta = archive.tensors().iter().find(|tensor| tensor.base.is_some());
    if let (Some(tensor), None) = (delta, base) {
        return Err(archive.needs_base(tensor));
    }
    sink.reserve(archive.original_len())?;
    let outside = archive.outside()?;
    sink.put(0, outside.header())?;
    for tensor in archive.tensors() {
        let gap = outside.before(tensor);
        if !gap.is_empty() {
            sink.put((tensor.start - gap.len()) as u64, gap)?;
        }
    }
    let trailing = outside.trailing();
    sink.put(archive.original_len() - trailing.len() as u64, trailing)?;
    progress.advance(outside.bytes().len() as u64);
    drop(outside);
    decode_all(archive, base, Some(sink), progress, &mut |_, error| Err(error))?;
    Ok(report)
}
