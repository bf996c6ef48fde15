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

/// The adapter that `wanted` names: digits are an index into [`adapters`], and anything else is a part of what
/// [`name_of`] gives, whatever its case. The best one where nothing is asked for.
pub async fn choose(wanted: Option<&str>) -> Result<wgpu::Adapter, GpuError> {
    let wanted = wanted.map(Wanted::parse).transpose()?;
    // OpenGL ranks last, and looking for its adapters takes time: not where a better one is there and
    // none is asked for.
    let native = if wanted.is_none() { adapters_of(wgpu::Backends::PRIMARY).await } else { Vec::new() };
    let mut adapters = if native.is_empty() { adapters().await } else { native };
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let Some(wanted) = wanted else { return Ok(adapters.remove(0)) };
    let names: Vec<String> = adapters.iter().map(|a| name_of(&a.get_info())).collect();
    Ok(adapters.swap_remove(wanted.find(names)?))
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted<'a> {
    /// Digits.
    Index(&'a str),
    /// A part of a name.
    Name(&'a str),
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> Result<Self, GpuError> {
        match text.trim() {
            // It would be a part of every name.
            "" => Err(GpuError::EmptyAdapterName),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self::Index(digits)),
            name => Ok(Self::Name(name)),
        }
    }

    /// Its place among `names`.
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
                error.to_string().contains("there are: 0: llvmpipe")
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
}
