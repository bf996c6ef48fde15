//! Permissions go with what is copied or converted: who may not read a source may not read its output, at no
//! time, and what can be run still can.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

/// Bits of a mode that outputs have too; what makes programs run as somebody else is not among them.
#[cfg(unix)]
const COPIED: u32 = 0o777;

/// Who may do what with a file or folder; on some systems nothing is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    #[cfg(unix)]
    bits: u32,
}

impl Mode {
    /// That of what is at `path`, if there is something.
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

/// Temporary files are private by default: one that is made with this is as open as `mode`, or as any new file
/// where there is none. The umask applies.
#[cfg(unix)]
pub(super) fn begin_file(builder: &mut tempfile::Builder, mode: Option<Mode>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(mode.map_or(0o666, |mode| mode.bits)));
}

#[cfg(not(unix))]
pub(super) fn begin_file(_: &mut tempfile::Builder, _: Option<Mode>) {}

/// Gives a finished file its mode.
pub(super) fn end_file(file: &File, mode: Option<Mode>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(mode) = mode {
        use std::os::unix::fs::PermissionsExt;
        return file.set_permissions(fs::Permissions::from_mode(mode.bits));
    }
    let _ = (file, mode);
    Ok(())
}

/// Makes a folder that is as open as `mode` to others, and that its owner can fill.
pub(super) fn begin_folder(path: &Path, mode: Option<Mode>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(mode) = mode {
        use std::os::unix::fs::DirBuilderExt;
        return fs::DirBuilder::new().mode(mode.bits | 0o700).create(path);
    }
    let _ = mode;
    fs::create_dir(path)
}

/// Gives a folder that has been filled its mode. It is only about what others see: a failure is told, and no more.
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
