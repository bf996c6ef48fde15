//! The folder for what can be made again: choices of kernels, and compiled kernels.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// Where choices are kept: the folder that `BANTAM_CACHE` names, or one below the user's for what can be
/// made again. `None` where nothing is to be kept, since that variable is empty, or there is no such folder.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("BANTAM_CACHE") {
        Some(folder) => (!folder.is_empty()).then(|| folder.into()),
        None => Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("bantam")),
    }
}
