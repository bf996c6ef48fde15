//! The conditions under which a file about kernels is valid.

use serde::{Deserialize, Serialize};

use super::sources;
use super::target::Target;

/// Everything that affects kernels and their speed, so that a file about them is valid only for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::gpu) struct Subject {
    adapter: String,
    backend: String,
    vendor: u32,
    device: u32,
    driver: String,
    driver_info: String,
    /// The kind of device that kernels were chosen for, which may differ from the device's own.
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
            shaders: sources::revision(),
        }
    }

    /// A hash of all fields.
    pub fn hash(&self) -> blake3::Hash {
        let Self { adapter, backend, vendor, device, driver, driver_info, target, bantam, shaders } = self;
        let mut hasher = blake3::Hasher::new();
        for part in [adapter, backend, driver, driver_info, target, bantam, shaders] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&vendor.to_le_bytes()).update(&device.to_le_bytes()).finalize()
    }

    /// A file's name. It contains the adapter and its driver but not their versions, so that a file for a
    /// newer version replaces the old one.
    pub fn file_name(&self, what: &str, extension: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.adapter, &self.backend, &self.driver, &self.target] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&self.vendor.to_le_bytes()).update(&self.device.to_le_bytes());
        format!("{what}-{}.{extension}", &hasher.finalize().to_hex()[..16])
    }
}
