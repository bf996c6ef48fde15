//! What a bench ran on.

use serde::Serialize;

use crate::gpu::Gpu;

/// The device and the machine around it.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The adapter's name.
    pub adapter: String,
    /// Whether it is a card, a part of the processor, or the processor itself.
    pub device_type: String,
    /// The interface that it is used through.
    pub backend: String,
    /// Its driver.
    pub driver: String,
    /// The driver's version, or what else it says of itself.
    pub driver_info: String,
    /// Operating system.
    pub os: &'static str,
    /// Architecture of the processor.
    pub arch: &'static str,
    /// Threads that the processor runs at once.
    pub cpus: usize,
}

impl Machine {
    /// The machine that `gpu` is in.
    pub fn of(gpu: &Gpu) -> Self {
        let info = gpu.device().adapter_info();
        Self {
            adapter: info.name,
            device_type: format!("{:?}", info.device_type),
            backend: format!("{:?}", info.backend),
            driver: info.driver,
            driver_info: info.driver_info,
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Bytes that the host could still give, where it says so: the memory of devices that have none of
/// their own.
pub(super) fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
