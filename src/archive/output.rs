//! Outputs appear under their name when they are complete, or not at all.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use super::progress::check;
use super::sink::Sink;
use super::{ArchiveError, Options, Progress};

/// What the temporary name of an unfinished file ends with.
pub(super) const UNFINISHED: &str = ".partial";

/// Bytes that are copied between two looks at whether to go on.
const COPIED_AT_ONCE: u64 = 16 << 20;

/// A file that is written under a temporary name beside its final one. Dropped before
/// [`OutputFile::publish`], it is removed.
pub(super) struct OutputFile {
    temporary: NamedTempFile,
    path: PathBuf,
    options: Options,
}

impl OutputFile {
    /// Begins the file that will be `path`.
    pub fn create(path: &Path, options: &Options) -> Result<Self, ArchiveError> {
        refuse_existing(path, options)?;
        let mut builder = Builder::new();
        builder.prefix(".").suffix(UNFINISHED);
        set_mode(&mut builder, 0o666);
        let temporary =
            builder.tempfile_in(parent(path)).map_err(ArchiveError::io("create a file beside", path))?;
        Ok(Self { temporary, path: path.into(), options: *options })
    }

    /// Where to write it.
    pub fn sink(&self) -> Sink<'_> {
        Sink::File(self.temporary.as_file(), &self.path)
    }

    /// Copies all of `source` to here, and tells `progress` of its bytes.
    pub fn copy_from(&mut self, source: &Path, progress: &dyn Progress) -> Result<(), ArchiveError> {
        let mut from = File::open(source).map_err(ArchiveError::io("open", source))?;
        loop {
            check(progress)?;
            let copied = std::io::copy(&mut (&mut from).take(COPIED_AT_ONCE), self.temporary.as_file_mut());
            match copied.map_err(ArchiveError::io("copy", source))? {
                0 => return Ok(()),
                bytes => progress.advance(bytes),
            }
        }
    }

    /// Makes the file durable and gives it its name.
    pub fn publish(self) -> Result<(), ArchiveError> {
        let Self { temporary, path, options } = self;
        temporary.as_file().sync_all().map_err(ArchiveError::io("write", &path))?;
        let named = match options.overwrite {
            true => temporary.persist(&path),
            false => temporary.persist_noclobber(&path),
        };
        match named {
            Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(ArchiveError::Exists { path });
            }
            Err(e) => {
                return Err(ArchiveError::Io { doing: "rename a finished file to", path, source: e.error });
            }
            Ok(_) => {}
        }
        sync_folder(parent(&path));
        Ok(())
    }
}

/// An error where there is something at `path` that the options do not allow to be replaced.
pub(super) fn refuse_existing(path: &Path, options: &Options) -> Result<(), ArchiveError> {
    // Not `exists`, which is false for a link that leads nowhere.
    if !options.overwrite && fs::symlink_metadata(path).is_ok() {
        return Err(ArchiveError::Exists { path: path.into() });
    }
    Ok(())
}

/// The folder that `path` is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Temporary files are private by default; outputs get what any new file gets (the umask applies).
#[cfg(unix)]
fn set_mode(builder: &mut Builder, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn set_mode(_: &mut Builder, _: u32) {}

/// Makes renames in `folder` durable where the system can; the files' contents are synced already,
/// so a failure here loses no data.
pub(super) fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Err(error) = File::open(folder).and_then(|f| f.sync_all()) {
        log::debug!("cannot sync {}: {error}", folder.display());
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// An error where `src` and `dst` are the same file or folder.
pub(super) fn refuse_same(src: &Path, dst: &Path) -> Result<(), ArchiveError> {
    let same = match (src.canonicalize(), dst.canonicalize()) {
        (Ok(src), Ok(dst)) => src == dst,
        _ => src == dst,
    };
    if same { Err(ArchiveError::SameFile { path: src.into() }) } else { Ok(()) }
}
