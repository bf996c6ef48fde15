//! From a compressed file back to the plain one.

use std::path::Path;

use super::output::{OutputFile, refuse_same};
use super::progress::{check, reported};
use super::verify::decode_on_cpu;
use super::{Archive, ArchiveError, FileReport, Options, Progress};

/// Restores the original of the compressed file `src` to `dst`, byte for byte. Every checksum and
/// hash is compared on the way, and `dst` appears only when all of them agree.
pub fn decompress_file(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    let archive = Archive::open(src)?;
    let total = archive.original_len();
    reported(progress, total, "decompressing", || decompress_open(&archive, dst, options, progress))
}

/// Restores an open file; the caller has begun the progress.
pub(super) fn decompress_open(
    archive: &Archive,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<FileReport, ArchiveError> {
    refuse_same(archive.path(), dst)?;
    let mut report = archive.report()?;
    let mut output = OutputFile::create(dst, options)?;
    output.write(archive.original_header())?;
    progress.advance(archive.original_header().len() as u64);
    let mut buffer = Vec::new();
    // In the original's order, and with nothing between them but the gaps, which `Archive::open`
    // has seen to.
    for tensor in archive.tensors() {
        check(progress)?;
        output.write(archive.gap_before(tensor))?;
        archive.decode_checked(tensor, &decode_on_cpu, &mut buffer)?;
        output.write(&buffer)?;
        progress.advance(tensor.original_len as u64);
    }
    output.write(archive.trailing())?;
    output.publish()?;
    report.output = dst.into();
    Ok(report)
}
