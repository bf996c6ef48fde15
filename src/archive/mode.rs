//! Copies and outputs keep their source's permissions: whoever may not read a source can never read its
//! output, and executable files stay executable.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

/// Mode bits that outputs inherit. The set-user-ID and set-group-ID bits are not among them.
#[cfg(unix)]
const COPIED: u32 = 0o777;

/// The permissions of a file or folder; empty on systems without Unix modes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    #[cfg(unix)]
    bits: u32,
}

impl Mode {
    /// The permissions of the file or folder at `path`, if it exists.
    pub fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|meta| Self::of(&meta))
    }

    #[cfg(unix)]
    fn of(meta: &Metadata) -> Self {
        use std::os::unix::fs::PermissionsExt;
        Self { bits: meta.permissions().mode() & COPIED }
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Self {}
    }
}

/// Temporary files are private by default. One that is created with this has the access that `mode` allows,
/// or that of any new file if there is none. The umask applies.
#[cfg(unix)]
pub(super) fn begin_file(builder: &mut tempfile::Builder, mode: Option<Mode>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(mode.map_or(0o666, |mode| mode.bits)));
}

#[cfg(not(unix))]
pub(super) fn begin_file(_: &mut tempfile::Builder, _: Option<Mode>) {}

/// Sets the final mode of a finished file.
pub(super) fn end_file(file: &File, mode: Option<Mode>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(mode) = mode {
        use std::os::unix::fs::PermissionsExt;
        return file.set_permissions(fs::Permissions::from_mode(mode.bits));
    }
    let _ = (file, mode);
    Ok(())
}

/// Creates a folder whose access for others follows `mode`, and that its owner can fill.
pub(super) fn begin_folder(path: &Path, mode: Option<Mode>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(mode) = mode {
        use std::os::unix::fs::DirBuilderExt;
        return fs::DirBuilder::new().mode(mode.bits | 0o700).create(path);
    }
    let _ = mode;
    fs::create_dir(path)
}

/// Sets the final mode of a folder that has been filled. It affects only other users, so a failure is only
/// logged.
pub(super) fn end_folder(path: &Path, mode: Option<Mode>) {
    #[cfg(unix)]
    if let Some(mode) = mode {
        use std::os::unix::fs::PermissionsExt;
        if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(mode.bits)) {
            log::warn!("{}: its permissions cannot be set: {error}", path.display());
        }
    }
    let _ = (path, mode);
}
