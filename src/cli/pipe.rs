//! Files that are read or written once, in order: `-` for standard input or output, named pipes, and devices.

use std::fs::File;
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bantam::archive::{ArchiveError, require_there};
use bantam::tensor::{MappedFile, SourceFile, SpecialFile};

use super::standard::{is_stdin, is_stdout};
use super::{Result, waiting};

/// Whether `path` can be read only in order.
pub fn is_stream(path: &Path) -> bool {
    is_stdin(path) || SpecialFile::at(path) == Some(SpecialFile::Pipe)
}

/// Whether `path` can be written only in order, or not at all, so that no finished file can be moved there.
pub fn is_written_in_order(path: &Path) -> bool {
    is_stdout(path) || SpecialFile::at(path).is_some()
}

/// Opens the file at `src`. Data from a pipe is copied to an unnamed file first, in the folder of `output`,
/// where space should be available.
pub fn open(src: &Path, output: Option<&Path>) -> Result<SourceFile> {
    if !is_stream(src) {
        require_there(src)?;
        return Ok(SourceFile::open(src)?);
    }
    let beside = output.filter(|output| !is_stdout(output)).map(|output| match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => ".".into(),
    });
    let folder = beside.filter(|folder| folder.is_dir()).unwrap_or_else(std::env::temp_dir);
    if is_stdin(src) && stdin().is_terminal() {
        return Err("standard input is a terminal; pipe a file into it, or name one".into());
    }
    let name = if is_stdin(src) { Path::new("(standard input)") } else { src };
    // Nothing has been created that would need cleaning up.
    let map = waiting::at_most(Duration::ZERO, || {
        let mut from: Box<dyn Read> = match is_stdin(src) {
            true => Box::new(stdin().lock()),
            false => Box::new(File::open(src)?),
        };
        MappedFile::spool(&mut from, &folder)
    });
    let map = map.map_err(|error| {
        format!("cannot copy {} to a file in {}: {error}", name.display(), folder.display())
    })?;
    Ok(SourceFile::from_mapped(name, map)?)
}

/// The writer for an output that is written in order; `None` if `output` is a file that appears when it is
/// complete. Fails if neither is possible. Opening a pipe waits for its reader.
pub fn destination(output: &Path) -> Result<Option<Box<dyn Write + Send>>> {
    if is_stdout(output) {
        return match stdout().is_terminal() {
            true => Err("standard output is a terminal; pipe it into something, or name a file".into()),
            false => Ok(Some(Box::new(stdout()))),
        };
    }
    let kind = match SpecialFile::at(output) {
        None => return Ok(None),
        Some(kind) => kind,
    };
    let shown = output.display();
    if !matches!(kind, SpecialFile::Pipe | SpecialFile::CharacterDevice) {
        return Err(format!("{shown} is {kind}, which bantam does not write to; name a file").into());
    }
    let file = waiting::at_most(Duration::ZERO, || File::options().write(true).open(output));
    let file = file.map_err(|error| format!("cannot write to {shown}, which is {kind}: {error}"))?;
    match file.is_terminal() {
        true => Err(format!("{shown} is a terminal; pipe it into something, or name a file").into()),
        false => Ok(Some(Box::new(file))),
    }
}

/// The output path for `src`, if `src` is read in order or the output is written in order.
pub fn output_of(
    src: &Path,
    output: Option<&Path>,
    default: impl FnOnce(&Path) -> Option<PathBuf>,
) -> Result<PathBuf> {
    if !is_stream(src) {
        require_there(src)?;
    }
    if src.is_dir() {
        let folder = src.display();
        return Err(format!(
            "{folder} is a folder, and only a file can go through a pipe; name an output folder (-o)"
        )
        .into());
    }
    match output {
        Some(output) => Ok(output.into()),
        None if is_stdin(src) => Err(no_default(src).into()),
        None => Ok(default(src).ok_or_else(|| no_default(src))?),
    }
}

fn no_default(src: &Path) -> ArchiveError {
    ArchiveError::NoDefaultName { path: src.into() }
}
