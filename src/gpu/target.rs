//! The kind of device that kernels and layouts are chosen for.
//!
//! This is the one place that decides it. A test, or a person who hunts a fault, can choose another kind than the
//! device's own, so that the paths of a GPU run where there is none.

use std::fmt;
use std::str::FromStr;

/// The kind of device that kernels and layouts are chosen for. Results are the same bits for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A GPU.
    Gpu,
    /// A processor behind Mesa's llvmpipe or lavapipe. These drivers compile kernels of many rows an invocation
    /// quickly, and read textures and uniforms faster than buffers.
    Llvmpipe,
    /// A processor behind any other driver, such as SwiftShader. Kernels have one row an invocation: some compilers need
    /// minutes and all memory for more.
    Cpu,
}

impl Target {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Gpu, Self::Llvmpipe, Self::Cpu];

    /// What an adapter is, by its type and its driver.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        let is_mesa = [&info.name, &info.driver].iter().any(|name| {
            let name = name.to_ascii_lowercase();
            name.contains("llvmpipe") || name.contains("lavapipe")
        });
        match info.device_type {
            wgpu::DeviceType::Cpu if is_mesa => Self::Llvmpipe,
            wgpu::DeviceType::Cpu => Self::Cpu,
            _ => Self::Gpu,
        }
    }

    /// Whether a processor computes.
    pub fn is_cpu(self) -> bool {
        self != Self::Gpu
    }

    /// Its name: `gpu`, `llvmpipe` or `cpu`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Llvmpipe => "llvmpipe",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of device; there are gpu, llvmpipe and cpu")]
pub struct NoSuchTarget(pub String);

impl FromStr for Target {
    type Err = NoSuchTarget;

    fn from_str(name: &str) -> Result<Self, NoSuchTarget> {
        Self::ALL.into_iter().find(|target| target.name() == name).ok_or_else(|| NoSuchTarget(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
        }
        assert_eq!("GPU".parse::<Target>(), Err(NoSuchTarget("GPU".into())));
    }
}
