//! What can go wrong on a device.

use super::kernel::ShaderError;

/// Why something could not be done on a device.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no adapter at all.
    #[error(
        "no GPU adapter was found; install a Vulkan driver (Mesa's lavapipe runs on any CPU: \
         package mesa-vulkan-drivers on Debian and Ubuntu)"
    )]
    NoAdapter,
    /// There is no such adapter.
    #[error("no adapter matches {wanted:?}; available adapters: {}", there_are.join(", "))]
    NoSuchAdapter {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there_are: Vec<String>,
    },
    /// A name that every adapter has.
    #[error("the adapter name is empty; leave it out to use the best adapter, or see `bantam devices`")]
    EmptyAdapterName,
    /// The adapter refused to make a device.
    #[error("the adapter could not create a device: {0}")]
    NoDevice(String),
    /// The device is out of memory, or the budget is used up.
    #[error("out of device memory: {label} needs {wanted} bytes, {used} are in use{}", budget.map(|b| format!(" of a budget of {b}")).unwrap_or_default())]
    OutOfMemory {
        /// The buffer that could not be made.
        label: String,
        /// Its bytes.
        wanted: u64,
        /// Bytes in use before.
        used: u64,
        /// The budget, if there is one.
        budget: Option<u64>,
    },
    /// The device cannot bind that much at once.
    #[error("{label} needs a binding of {wanted} bytes, but the device allows {limit}")]
    BindingTooLarge {
        /// The buffer.
        label: String,
        /// Its bytes.
        wanted: u64,
        /// The device's limit.
        limit: u64,
    },
    /// The driver would silently end a kernel's loops too early.
    #[error(
        "{label}: rows or the context are so long that a kernel loops {rounds} times, but this driver (llvmpipe) ends \
         all loops after {most} rounds, which gives wrong results; use another device, or a shorter context"
    )]
    TooManyRounds {
        /// The kernel.
        label: String,
        /// Rounds that the loop takes.
        rounds: u64,
        /// Most rounds that the driver allows.
        most: u64,
    },
    /// The host application requested its device with less than kernels need.
    #[error(
        "the device was requested with {limit} of {allowed}, but bantam needs {needed}; add gpu::required_limits to \
         the request"
    )]
    LimitTooLow {
        /// The limit's name, as wgpu has it.
        limit: &'static str,
        /// What kernels need.
        needed: u64,
        /// What the device has.
        allowed: u64,
    },
    /// The device is lost: unplugged, reset by its driver or destroyed by its owner.
    #[error("device lost: {0}; open it again to continue")]
    DeviceLost(String),
    /// The device rejected a command: a mistake in this library.
    #[error("the device rejected a command: {0}")]
    Validation(String),
    /// A shader could not be assembled: a mistake in this library.
    #[error(transparent)]
    Shader(#[from] ShaderError),
}
