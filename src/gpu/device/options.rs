//! Options for opening a device.

use std::path::PathBuf;

use crate::gpu::Target;

/// Options for opening a device.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// An adapter's index, in digits, or a part of its name; `None` for the best adapter.
    pub device: Option<String>,
    /// Maximum bytes of all buffers together.
    pub budget: Option<u64>,
    /// Maximum bytes of one storage binding, to set a lower limit than the device's. Larger matrices are then
    /// kept in parts, as on a device with that limit.
    pub max_binding: Option<u64>,
    /// Whether the device's timestamps time passes, if it has them.
    pub timestamps: bool,
    /// Maximum multiply-adds of one submission; `None` for [`SUBMISSION_WORK`](crate::gpu::SUBMISSION_WORK). See
    /// [`Gpu::with_submission_work`](crate::gpu::Gpu::with_submission_work).
    pub submission_work: Option<u64>,
    /// The kind of device to choose kernels for; `None` for the device's own kind. See [`Gpu::with_target`](crate::gpu::Gpu::with_target).
    pub target: Option<Target>,
    /// The folder that stores kernels that the driver has compiled, so that the next process need not compile
    /// them again. bantam creates it if it does not exist. No other user must be able to write to it, because
    /// the driver trusts what it reads. Only Vulkan drivers support this, and not all of them. `None` reads
    /// and stores nothing.
    pub pipeline_cache: Option<PathBuf>,
}
