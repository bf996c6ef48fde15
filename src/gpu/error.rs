//! Errors of devices.

use super::kernel::ShaderError;

/// Why an operation on a device failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no adapter at all.
    #[error(
        "no GPU adapter was found; install a Vulkan driver (Mesa's lavapipe runs on any CPU: \
         package mesa-vulkan-drivers on Debian and Ubuntu)"
    )]
    NoAdapter,
    /// No adapter matches the requested one.
    #[error("no adapter matches {wanted:?}; available adapters: {}", there_are.join(", "))]
    NoSuchAdapter {
        /// The requested index or name.
        wanted: String,
        /// The available adapters.
        there_are: Vec<String>,
    },
    /// The requested name is empty, so it would match every adapter.
    #[error("the adapter name is empty; leave it out to use the best adapter, or see `bantam devices`")]
    EmptyAdapterName,
    /// The adapter could not create a device.
    #[error("the adapter could not create a device: {0}")]
    NoDevice(String),
    /// The device is out of memory, or the budget is used up.
    #[error("out of device memory: {label} needs {wanted} bytes, {used} are in use{}", budget.map(|b| format!(" of a budget of {b}")).unwrap_or_default())]
    OutOfMemory {
        /// The buffer that could not be created.
        label: String,
        /// Bytes requested.
        wanted: u64,
        /// Bytes in use before.
        used: u64,
        /// The budget, if there is one.
        budget: Option<u64>,
    },
    /// A binding is larger than the device allows.
    #[error("{label} needs a binding of {wanted} bytes, but the device allows {limit}")]
    BindingTooLarge {
        /// The buffer.
        label: String,
        /// Bytes of the binding.
        wanted: u64,
        /// The device's limit.
        limit: u64,
    },
    /// The driver would silently end a kernel's loops too early.
    #[error(
        "{label}: rows or the context are too long: a kernel needs {rounds} loop iterations, but this driver \
         (llvmpipe) ends all loops after {most}, which gives wrong results; use another device, or a shorter \
         context"
    )]
    TooManyRounds {
        /// The kernel.
        label: String,
        /// Iterations that the kernel needs.
        rounds: u64,
        /// Maximum iterations that the driver allows.
        most: u64,
    },
    /// The host application requested its device with lower limits than kernels need.
    #[error(
        "the device was requested with {limit} of {allowed}, but bantam needs {needed}; add gpu::required_limits to \
         the request"
    )]
    LimitTooLow {
        /// The limit's name in wgpu.
        limit: &'static str,
        /// The value that kernels need.
        needed: u64,
        /// The device's value.
        allowed: u64,
    },
    /// The device is lost: unplugged, reset by its driver or destroyed by its owner.
    #[error("device lost: {0}; open the device again to continue")]
    DeviceLost(String),
    /// The device rejected a command: a mistake in this library.
    #[error("the device rejected a command: {0}")]
    Validation(String),
    /// A shader could not be assembled: a mistake in this library.
    #[error(transparent)]
    Shader(#[from] ShaderError),
}
