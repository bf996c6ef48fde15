//! The folder for files that bantam can make again: choices of kernels, and compiled kernels.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The folder for choices of kernels: the one that `BANTAM_CACHE` names, or else a subfolder of the user's
/// cache. `None` to store nothing, because that variable is empty or the user has no cache folder.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("BANTAM_CACHE") {
        Some(folder) => (!folder.is_empty()).then(|| folder.into()),
        None => Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("bantam")),
    }
}
