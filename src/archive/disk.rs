//! Changes to the files and folders of an output, one system call each.
//!
//! A process can be killed before any of them. Tests do so: [`step`] runs before each change, and a test can make it
//! fail from a certain change on, after which nothing on the disk changes any more. Only tests compile that part.

use std::fs;
use std::io;
use std::path::Path;

use super::mode::{self, Mode};

#[cfg(not(test))]
/// What runs before each change.
pub(super) fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use steps::step;

/// Gives a file, link or folder another name; a file replaces another.
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

/// Removes a folder with all that is in it. It is one change to tests, so it is for what nobody needs any more.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    step()?;
    fs::remove_dir_all(path)
}

/// Makes a folder that is as open as `mode` to others, and that its owner can fill.
pub(super) fn make_folder(path: &Path, mode: Option<Mode>) -> io::Result<()> {
    step()?;
    mode::begin_folder(path, mode)
}

/// Gives a folder that has been filled its mode.
pub(super) fn end_folder(path: &Path, mode: Option<Mode>) {
    if step().is_ok() {
        mode::end_folder(path, mode);
    }
}

/// Makes a relative link. Only where there are such links is one found in a folder.
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

    /// What a test runs before each change. From its first error on, the process counts as killed.
    pub type Hook = Box<dyn FnMut() -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Runs the hook of this thread. What the hook itself changes does not run it again.
    pub fn step() -> io::Result<()> {
        let Some(mut hook) = HOOK.take() else { return Ok(()) };
        let result = hook();
        HOOK.set(Some(hook));
        result
    }

    /// Whether a test may kill this thread's work: then what a value removes when it is dropped has to stay, too.
    pub fn is_hooked() -> bool {
        HOOK.with_borrow(Option::is_some)
    }

    /// Does `work` with a hook.
    pub fn hooked<T>(hook: Hook, work: impl FnOnce() -> T) -> T {
        HOOK.set(Some(hook));
        let result = work();
        HOOK.take();
        result
    }
}
