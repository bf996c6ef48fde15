//! Changes to an output's files and folders, one system call each.
//!
//! A process can be killed before any of them. Tests simulate this: [`step`] runs before each change, and a
//! test can make it fail from a given change on. After that, nothing on the disk changes. Only test builds
//! contain this part.

use std::fs;
use std::io;
use std::path::Path;

use super::mode::{self, Mode};

#[cfg(not(test))]
/// Runs before each change; does nothing outside tests.
pub(super) fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use steps::step;

/// Renames a file, link or folder. A file replaces an existing one.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step()?;
    fs::rename(from, to)
}

/// Removes a file or link.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    step()?;
    fs::remove_file(path)
}

/// Removes an empty folder.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    step()?;
    fs::remove_dir(path)
}

/// Removes a folder and its contents. Tests see this as one change, so use it only for data that nobody
/// needs.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    step()?;
    fs::remove_dir_all(path)
}

/// Creates a folder whose access for others follows `mode`, and that its owner can fill.
pub(super) fn make_folder(path: &Path, mode: Option<Mode>) -> io::Result<()> {
    step()?;
    mode::begin_folder(path, mode)
}

/// Sets the final mode of a folder that has been filled.
pub(super) fn end_folder(path: &Path, mode: Option<Mode>) {
    if step().is_ok() {
        mode::end_folder(path, mode);
    }
}

/// Creates a relative link. Links are found in folders only on systems that support them.
#[cfg(unix)]
pub(super) fn link_to(to: &Path, link: &Path) -> io::Result<()> {
    step()?;
    std::os::unix::fs::symlink(to, link)
}

#[cfg(not(unix))]
pub(super) fn link_to(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
pub(super) mod steps {
    use std::cell::RefCell;
    use std::io;

    /// A test's function that runs before each change. After its first error, the process counts as killed.
    pub type Hook = Box<dyn FnMut() -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Runs this thread's hook. Changes made by the hook itself do not run it again.
    pub fn step() -> io::Result<()> {
        let Some(mut hook) = HOOK.take() else { return Ok(()) };
        let result = hook();
        HOOK.set(Some(hook));
        result
    }

    /// Whether a test may kill this thread's work. If so, destructors must not clean up.
    pub fn is_hooked() -> bool {
        HOOK.with_borrow(Option::is_some)
    }

    /// Runs `work` with a hook.
    pub fn hooked<T>(hook: Hook, work: impl FnOnce() -> T) -> T {
        HOOK.set(Some(hook));
        let result = work();
        HOOK.take();
        result
    }
}
