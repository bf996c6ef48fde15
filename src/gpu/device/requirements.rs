//! The features and limits with which a host application requests its device, so that bantam can use it.

use crate::gpu::GpuError;

/// Features of `adapter` that bantam can use. Request them together with those that the host itself needs.
///
/// None of them is mandatory. If host and device share their memory,
/// [`MAPPABLE_PRIMARY_BUFFERS`](wgpu::Features::MAPPABLE_PRIMARY_BUFFERS) saves a second buffer for each slot
/// that layers are streamed through.
pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let useful = match adapter.get_info().device_type {
        wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu => wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
        _ => wgpu::Features::empty(),
    };
    adapter.features() & useful
}

/// Limits with which to request a device: those that the kernels need, and the largest buffers and bindings
/// that `adapter` allows, so that large matrices are in few parts. A host that needs higher limits combines
/// both:
///
/// ```no_run
/// # fn limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
/// wgpu::Limits::default().or_better_values_from(&bantam::gpu::required_limits(adapter))
/// # }
/// ```
///
/// If the adapter allows less, the result is lower too; [`check_limits`] returns an error if that is too low.
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let allowed = adapter.limits();
    let wanted = wgpu::Limits {
        max_buffer_size: allowed.max_buffer_size,
        max_storage_buffer_binding_size: allowed.max_storage_buffer_binding_size,
        max_uniform_buffer_binding_size: allowed.max_uniform_buffer_binding_size,
        ..least_limits()
    };
    wanted.or_worse_values_from(&allowed)
}

/// The lowest limits with which all kernels work. wgpu's default limits are enough.
pub fn least_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: 8,
        max_compute_workgroup_storage_size: 16 << 10,
        ..wgpu::Limits::downlevel_defaults()
    }
}

/// Returns an error if the kernels need higher limits than `device` has.
pub fn check_limits(device: &wgpu::Device) -> Result<(), GpuError> {
    let mut missing = Ok(());
    least_limits().check_limits_with_fail_fn(&device.limits(), false, |limit, needed, allowed| {
        missing = Err(GpuError::LimitTooLow { limit, needed, allowed });
    });
    missing
}
