//! What a host application asks its adapter for, so that this library can use the device.

use super::error::GpuError;

/// Features that `adapter` has and that this library makes use of: to be requested with those that the host
/// itself needs.
///
/// None has to be there. [`MAPPABLE_PRIMARY_BUFFERS`](wgpu::Features::MAPPABLE_PRIMARY_BUFFERS), where host and
/// device share their memory, saves a second buffer for each slot that layers are streamed through.
pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let useful = match adapter.get_info().device_type {
        wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu => wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
        _ => wgpu::Features::empty(),
    };
    adapter.features() & useful
}

/// Limits that a device should be requested with: those without which there are no kernels, and the largest
/// buffers and bindings that `adapter` allows, so that large matrices are in few parts. A host
/// that needs more of something takes the better of both:
///
/// ```no_run
/// # fn limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
/// wgpu::Limits::default().or_better_values_from(&bantam::gpu::required_limits(adapter))
/// # }
/// ```
///
/// Where the adapter allows less, so does the result; [`check_limits`] says whether it is too little.
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

/// The least limits that all kernels keep to. wgpu's defaults are enough.
pub fn least_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: 8,
        max_compute_workgroup_storage_size: 16 << 10,
        ..wgpu::Limits::downlevel_defaults()
    }
}

/// An error where kernels need more than `device` was requested with.
pub fn check_limits(device: &wgpu::Device) -> Result<(), GpuError> {
    let mut missing = Ok(());
    least_limits().check_limits_with_fail_fn(&device.limits(), false, |limit, needed, allowed| {
        missing = Err(GpuError::LimitTooLow { limit, needed, allowed });
    });
    missing
}
