//! The adapters of this machine, and choosing one.

use super::error::GpuError;

/// Every adapter that can run compute shaders, best first: discrete before integrated before
/// virtual before CPU, and native interfaces before OpenGL. Honours `WGPU_BACKEND`.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    adapters_of(wgpu::Backends::all()).await
}

async fn adapters_of(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let backends = backends & wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters: Vec<_> = instance.enumerate_adapters(backends).await;
    adapters.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    adapters.sort_by_key(|a| rank(&a.get_info()));
    adapters
}

fn rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (u8::from(info.backend == wgpu::Backend::Gl), kind)
}

/// What a person sees of an adapter: `Radeon 780M (Vulkan)`.
pub fn name_of(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?})", info.name, info.backend)
}

/// The adapter that `wanted` names: an index into [`adapters`], or a part of what [`name_of`] gives,
/// whatever its case. The best one where nothing is asked for.
pub async fn choose(wanted: Option<&str>) -> Result<wgpu::Adapter, GpuError> {
    // OpenGL ranks last, and looking for its adapters takes time: not where a better one is there and
    // none is asked for.
    let native = if wanted.is_none() { adapters_of(wgpu::Backends::PRIMARY).await } else { Vec::new() };
    let mut adapters = if native.is_empty() { adapters().await } else { native };
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let Some(wanted) = wanted else { return Ok(adapters.remove(0)) };
    let names: Vec<String> = adapters.iter().map(|a| name_of(&a.get_info())).collect();
    let by_index = wanted.parse::<usize>().ok().filter(|&i| i < names.len());
    let by_name = || names.iter().position(|n| n.to_lowercase().contains(&wanted.to_lowercase()));
    match by_index.or_else(by_name) {
        Some(i) => Ok(adapters.swap_remove(i)),
        None => Err(GpuError::NoSuchAdapter { wanted: wanted.into(), there_are: names }),
    }
}
