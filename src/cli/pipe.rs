//! `-` in the place of a file: standard input and standard output.

use std::io::{IsTerminal, stdin, stdout};
use std::path::Path;

use bantam::tensor::{MappedFile, SourceFile};

use super::Result;

/// Whether `path` stands for a pipe.
pub fn is_pipe(path: &Path) -> bool {
    path == Path::new("-")
}

/// The file at `src`, or what comes from standard input, which goes to a file without a name first:
/// where `output` will be, because there should be room.
pub fn open(src: &Path, output: Option<&Path>) -> Result<SourceFile> {
    if !is_pipe(src) {
        return Ok(SourceFile::open(src)?);
    }
    if stdin().is_terminal() {
        return Err("standard input is a terminal; pipe a file into it, or name one".into());
    }
    let beside = output.filter(|output| !is_pipe(output)).map(|output| match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => ".".into(),
    });
    let folder = beside.unwrap_or_else(std::env::temp_dir);
    let map = MappedFile::spool(stdin().lock(), &folder)
        .map_err(|error| format!("cannot copy standard input to a file in {}: {error}", folder.display()))?;
    Ok(SourceFile::from_mapped(Path::new("(standard input)"), map)?)
}

/// An error where `output` is standard output and that is a terminal.
pub fn refuse_terminal(output: Option<&Path>) -> Result<()> {
    match output.is_some_and(is_pipe) && stdout().is_terminal() {
        true => Err("standard output is a terminal; pipe it into something, or name a file".into()),
        false => Ok(()),
    }
}
