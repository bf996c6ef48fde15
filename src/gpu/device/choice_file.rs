//! Kernel choices in a file, so that a device is timed once and not by every process.
//!
//! A file says what it was made for. A file that is damaged, or belongs to another driver or version, is
//! ignored: the device is timed again, or gets its usual kernels.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::gpu::Gpu;
use crate::gpu::KernelChoices;
use crate::gpu::kernel::subject::Subject;

/// Maximum bytes of a file; bantam's own are much shorter.
const MOST_BYTES: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Contents {
    subject: Subject,
    choices: KernelChoices,
}

impl KernelChoices {
    /// The choices for `gpu` that [`KernelChoices::store`] wrote to `folder`, if they exist and are valid.
    /// Otherwise it logs the reason.
    pub fn load(gpu: &Gpu, folder: &Path) -> Option<Self> {
        let subject = Subject::of(gpu.device(), gpu.target());
        let path = folder.join(subject.file_name("kernels", "json"));
        let contents = match read(&path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                log::warn!("{} is not used: {error}", path.display());
                return None;
            }
        };
        if contents.subject != subject {
            log::info!("{} is not used: it belongs to another driver or version", path.display());
            return None;
        }
        Some(contents.choices)
    }

    /// Writes the choices for `gpu` to `folder`, which it creates if necessary, and returns the file's path.
    /// Concurrent readers see the previous file until the new one is complete.
    pub fn store(&self, gpu: &Gpu, folder: &Path) -> std::io::Result<PathBuf> {
        let subject = Subject::of(gpu.device(), gpu.target());
        std::fs::create_dir_all(folder)?;
        let path = folder.join(subject.file_name("kernels", "json"));
        let text = serde_json::to_string_pretty(&Contents { subject, choices: *self })?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(path)
    }
}

/// Reads a file with unknown contents.
fn read(path: &Path) -> std::io::Result<Contents> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(std::io::Error::other("it is not a file of kernel choices"));
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
