//! Choices in a file, so that a device is timed once and not by every process.
//!
//! A file says what it was made for. One that is damaged, or was made for another driver or by another
//! version, is as good as none: a device is then timed again, or has its usual kernels.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::gpu::Gpu;
use crate::gpu::kernel::shader;
use crate::gpu::{KernelChoices, Target};

/// No file of ours is longer, by far.
const MOST_BYTES: u64 = 64 << 10;

/// What a file holds for: all that changes kernels, and how long they take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::gpu) struct Subject {
    adapter: String,
    backend: String,
    vendor: u32,
    device: u32,
    driver: String,
    driver_info: String,
    /// What kind of device kernels were chosen for, which may not be its own.
    #[serde(default)]
    target: String,
    bantam: String,
    shaders: String,
}

impl Subject {
    pub fn of(device: &wgpu::Device, target: Target) -> Self {
        let info = device.adapter_info();
        Self {
            adapter: info.name,
            backend: format!("{:?}", info.backend),
            vendor: info.vendor,
            device: info.device,
            driver: info.driver,
            driver_info: info.driver_info,
            target: target.name().into(),
            bantam: env!("CARGO_PKG_VERSION").into(),
            shaders: shader::revision(),
        }
    }

    /// A hash of all of it.
    pub fn hash(&self) -> blake3::Hash {
        let Self { adapter, backend, vendor, device, driver, driver_info, target, bantam, shaders } = self;
        let mut hasher = blake3::Hasher::new();
        for part in [adapter, backend, driver, driver_info, target, bantam, shaders] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&vendor.to_le_bytes()).update(&device.to_le_bytes()).finalize()
    }

    /// A file's name: that of the adapter and its driver, whatever their versions, so that what was
    /// outlived is replaced.
    pub fn file_name(&self, what: &str, extension: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.adapter, &self.backend, &self.driver, &self.target] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&self.vendor.to_le_bytes()).update(&self.device.to_le_bytes());
        format!("{what}-{}.{extension}", &hasher.finalize().to_hex()[..16])
    }
}

#[derive(Serialize, Deserialize)]
struct Contents {
    subject: Subject,
    choices: KernelChoices,
}

impl KernelChoices {
    /// The choices for `gpu` that [`KernelChoices::store`] left in `folder`, where they are there and
    /// still hold. Why they do not is told to the log.
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

    /// Leaves the choices for `gpu` in `folder`, which is made where it is not there; gives the file's
    /// path. Who reads it meanwhile sees what was there before.
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

/// Reads a file that may be anything.
fn read(path: &Path) -> std::io::Result<Contents> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(std::io::Error::other("it is not a file of kernel choices"));
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
