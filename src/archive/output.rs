//! Outputs appear under their name when they are complete, or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use super::sink::Sink;
use super::{ArchiveError, Options};

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
        builder.prefix(".").suffix(".partial");
        set_mode(&mut builder, 0o666);
        let temporary =
            builder.tempfile_in(parent(path)).map_err(ArchiveError::io("create a file beside", path))?;
        Ok(Self { temporary, path: path.into(), options: *options })
    }

    /// Where to write it.
    pub fn sink(&self) -> Sink<'_> {
        Sink::File(self.temporary.as_file(), &self.path)
    }

    /// Copies all of `source` to here.
    pub fn copy_from(&mut self, source: &Path) -> Result<u64, ArchiveError> {
        let mut from = File::open(source).map_err(ArchiveError::io("open", source))?;
        std::io::copy(&mut from, self.temporary.as_file_mut()).map_err(ArchiveError::io("copy", source))
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

/// A folder that is filled under a temporary name beside its final one.
pub(super) struct OutputFolder {
    temporary: TempDir,
    path: PathBuf,
    options: Options,
}

impl OutputFolder {
    /// Begins the folder that will be `path`.
    pub fn create(path: &Path, options: &Options) -> Result<Self, ArchiveError> {
        if !is_empty_folder(path) {
            refuse_existing(path, options)?;
        }
        let mut builder = Builder::new();
        builder.prefix(".").suffix(".partial");
        set_mode(&mut builder, 0o777);
        let temporary =
            builder.tempdir_in(parent(path)).map_err(ArchiveError::io("create a folder beside", path))?;
        Ok(Self { temporary, path: path.into(), options: *options })
    }

    /// Where to write a file of this name.
    pub fn file(&self, name: &Path) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Gives the folder its name. Into a folder that is there already, allowed by the options,
    /// the files are moved one by one; others in it stay.
    pub fn publish(self) -> Result<(), ArchiveError> {
        let Self { temporary, path, options } = self;
        sync_folder(temporary.path());
        let refused =
            |source| ArchiveError::Io { doing: "rename a finished folder to", path: path.clone(), source };
        if is_empty_folder(&path) {
            fs::remove_dir(&path).map_err(refused)?;
        }
        if !path.exists() {
            fs::rename(temporary.path(), &path).map_err(refused)?;
            let _ = temporary.keep();
            sync_folder(parent(&path));
            return Ok(());
        }
        // It may have come to be since `create` looked.
        refuse_existing(&path, &options)?;
        for entry in fs::read_dir(temporary.path()).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            fs::rename(entry.path(), path.join(entry.file_name())).map_err(refused)?;
        }
        sync_folder(&path);
        Ok(())
    }
}

fn refuse_existing(path: &Path, options: &Options) -> Result<(), ArchiveError> {
    // Not `exists`, which is false for a link that leads nowhere.
    if !options.overwrite && fs::symlink_metadata(path).is_ok() {
        return Err(ArchiveError::Exists { path: path.into() });
    }
    Ok(())
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// The folder that `path` is in.
fn parent(path: &Path) -> &Path {
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
fn sync_folder(folder: &Path) {
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
