//! The machine that a benchmark ran on.

use serde::Serialize;

use crate::gpu::Gpu;

/// The device and the machine that it is in.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The adapter's name.
    pub adapter: String,
    /// Whether it is a discrete GPU, an integrated GPU or a CPU.
    pub device_type: String,
    /// The graphics API.
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, or other information that the driver reports.
    pub driver_info: String,
    /// Operating system.
    pub os: &'static str,
    /// Architecture of the processor.
    pub arch: &'static str,
    /// Threads that the CPU runs at once.
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

/// Free bytes of the host's memory, if the system reports them. Devices without memory of their own use it.
pub(super) fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
