//! The adapters of this machine, and choosing one.

use crate::gpu::GpuError;

/// Every adapter that can run compute shaders, best first: discrete before integrated before
/// virtual before CPU, native interfaces before OpenGL, and Vulkan before DirectX 12. Honours `WGPU_BACKEND`, and
/// `WGPU_DX12_COMPILER`.
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
    adapters.sort_by_key(|a| {
        let info = a.get_info();
        rank(info.device_type, info.backend)
    });
    adapters
}

fn rank(device_type: wgpu::DeviceType, backend: wgpu::Backend) -> (bool, u8, bool) {
    let kind = match device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (backend == wgpu::Backend::Gl, kind, backend == wgpu::Backend::Dx12)
}

/// Whether FXC compiles the kernels: wgpu uses it on DirectX 12 if it finds no DXC. There are no subgroups in
/// that case, or on devices older than both compilers.
pub(in crate::gpu) fn has_only_fxc(backend: wgpu::Backend, features: wgpu::Features) -> bool {
    backend == wgpu::Backend::Dx12 && !features.contains(wgpu::Features::SUBGROUP)
}

/// An adapter's name for people: `Radeon 780M (Vulkan)`.
pub fn name_of(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?})", info.name, info.backend)
}

/// The adapter that `wanted` names: digits are an index into [`adapters`]; anything else is a part of the
/// name that [`name_of`] returns, in upper or lower case. `None` chooses the best adapter.
pub async fn choose(wanted: Option<&str>) -> Result<wgpu::Adapter, GpuError> {
    let wanted = wanted.map(Wanted::parse).transpose()?;
    // OpenGL ranks last, and finding its adapters takes time. So skip it if there is a better adapter and the
    // caller names none.
    let native = if wanted.is_none() { adapters_of(wgpu::Backends::PRIMARY).await } else { Vec::new() };
    let mut adapters = if native.is_empty() { adapters().await } else { native };
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let Some(wanted) = wanted else { return Ok(adapters.remove(0)) };
    let names: Vec<String> = adapters.iter().map(|a| name_of(&a.get_info())).collect();
    Ok(adapters.swap_remove(wanted.find(names)?))
}

/// The adapter that the caller names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted<'a> {
    /// An index, in digits.
    Index(&'a str),
    /// A part of a name.
    Name(&'a str),
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> Result<Self, GpuError> {
        match text.trim() {
            // The empty text is a part of every name.
            "" => Err(GpuError::EmptyAdapterName),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self::Index(digits)),
            name => Ok(Self::Name(name)),
        }
    }

    /// Its index in `names`.
    fn find(self, names: Vec<String>) -> Result<usize, GpuError> {
        let (found, wanted) = match self {
            Self::Index(digits) => (digits.parse().ok().filter(|&i| i < names.len()), digits),
            Self::Name(name) => {
                let part = name.to_lowercase();
                (names.iter().position(|n| n.to_lowercase().contains(&part)), name)
            }
        };
        found.ok_or_else(|| GpuError::NoSuchAdapter {
            wanted: wanted.into(),
            there_are: names.iter().enumerate().map(|(i, name)| format!("{i}: {name}")).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(wanted: &str) -> Result<usize, GpuError> {
        Wanted::parse(wanted)?.find(vec!["llvmpipe (LLVM 15.0.6) (Vulkan)".into(), "Radeon 780M (Gl)".into()])
    }

    #[test]
    fn digits_are_an_index_and_never_a_part_of_a_name() {
        assert_eq!((find("0").unwrap(), find("1").unwrap(), find(" 01 ").unwrap()), (0, 1, 1));
        for digits in ["2", "5", "15", "780", "99999999999999999999999"] {
            let error = find(digits).unwrap_err();
            assert!(
                matches!(&error, GpuError::NoSuchAdapter { wanted, .. } if wanted == digits),
                "{error:?}"
            );
            assert!(
                error.to_string().contains("available adapters: 0: llvmpipe")
                    && error.to_string().contains("1: Radeon")
            );
        }
    }

    #[test]
    fn anything_else_is_a_part_of_a_name_if_it_is_anything() {
        assert_eq!((find("radeon").unwrap(), find("VULKAN").unwrap(), find("LLVM 15").unwrap()), (1, 0, 0));
        assert!(matches!(find("-1"), Err(GpuError::NoSuchAdapter { .. })));
        for nothing in ["", " ", "\t"] {
            assert!(matches!(find(nothing), Err(GpuError::EmptyAdapterName)));
        }
    }

    #[test]
    fn vulkan_comes_before_directx_and_both_before_opengl() {
        use wgpu::{Backend, DeviceType};
        let mut all = [
            (DeviceType::DiscreteGpu, Backend::Gl),
            (DeviceType::Cpu, Backend::Vulkan),
            (DeviceType::IntegratedGpu, Backend::Dx12),
            (DeviceType::IntegratedGpu, Backend::Vulkan),
            (DeviceType::DiscreteGpu, Backend::Dx12),
        ];
        all.sort_by_key(|&(device_type, backend)| rank(device_type, backend));
        let backends = all.map(|(_, backend)| backend);
        assert_eq!(backends, [Backend::Dx12, Backend::Vulkan, Backend::Dx12, Backend::Vulkan, Backend::Gl]);
    }

    #[test]
    fn fxc_is_told_by_what_it_cannot_do() {
        use wgpu::{Backend, Features};
        assert!(has_only_fxc(Backend::Dx12, Features::empty()));
        assert!(!has_only_fxc(Backend::Dx12, Features::SUBGROUP));
        assert!(!has_only_fxc(Backend::Vulkan, Features::empty()));
    }
}
