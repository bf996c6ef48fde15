//! The kind of device that kernels and layouts are chosen for.
//!
//! Only this module decides it. To test or to debug, choose another kind than the device's own: for example,
//! a GPU's code paths on a machine without a GPU.

use std::fmt;
use std::str::FromStr;

use super::invocations::Invocations;

/// The kind of device that kernels and layouts are chosen for. Products with weights give the same bits for
/// each kind; attention divides its work differently on a GPU than on a CPU, and so sums in a different
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A GPU.
    Gpu,
    /// A CPU with Mesa's llvmpipe or lavapipe. These drivers quickly compile kernels with many rows an
    /// invocation, and read textures and uniforms faster than buffers.
    Llvmpipe,
    /// A CPU with any other driver, such as SwiftShader.
    Cpu,
}

impl Target {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Gpu, Self::Llvmpipe, Self::Cpu];

    /// The kind of an adapter, from its type and its driver.
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

    /// Whether the driver's compiler can handle kernels with this many invocations. Unknown drivers get only
    /// one row per invocation. SwiftShader's compile time doubles with each branch in a loop: sixteen tokens
    /// by two rows are 32 branches in a loop if a gate is joined to the matrix that it gates, which takes
    /// hours and all memory.
    pub fn compiles(self, invocations: Invocations) -> bool {
        self != Self::Cpu || invocations.rows_each() == 1
    }

    /// Whether the device is a CPU.
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

/// The text is not the name of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of device; use gpu, llvmpipe or cpu")]
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

    /// Descriptions as drivers report them.
    #[test]
    fn a_driver_that_is_not_known_is_taken_for_no_other() {
        use wgpu::{Backend, DeviceType};
        let of = |name: &str, driver: &str, driver_info: &str, kind, backend| {
            let mut info = wgpu::AdapterInfo::new(kind, backend);
            (info.name, info.driver, info.driver_info) = (name.into(), driver.into(), driver_info.into());
            Target::of(&info)
        };
        let mesa = "llvmpipe (LLVM 15.0.6, 256 bits)";
        let (vulkan, gl) = (Backend::Vulkan, Backend::Gl);
        for (wanted, got) in [
            (Target::Llvmpipe, of(mesa, "llvmpipe", "Mesa 22.3.6 (LLVM 15.0.6)", DeviceType::Cpu, vulkan)),
            (Target::Llvmpipe, of(mesa, "", "4.5 (Core Profile) Mesa 22.3.6", DeviceType::Cpu, gl)),
            (Target::Llvmpipe, of("LLVMPIPE", "Lavapipe", "", DeviceType::Cpu, vulkan)),
            (
                Target::Cpu,
                of("SwiftShader Device (Subzero)", "SwiftShader driver", "", DeviceType::Cpu, vulkan),
            ),
            (Target::Cpu, of("SwiftShader Device (LLVM 10.0.0)", "", "", DeviceType::Cpu, vulkan)),
            (Target::Cpu, of("Microsoft Basic Render Driver", "", "", DeviceType::Cpu, Backend::Dx12)),
            (Target::Cpu, of("pocl", "", "Mesa", DeviceType::Cpu, vulkan)),
            (Target::Cpu, of("", "", "", DeviceType::Cpu, vulkan)),
            (
                Target::Gpu,
                of("AMD Radeon 780M (RADV GFX1103_R1)", "radv", "Mesa 24", DeviceType::IntegratedGpu, vulkan),
            ),
            (Target::Gpu, of("NVIDIA H200", "NVIDIA", "", DeviceType::DiscreteGpu, vulkan)),
            (Target::Gpu, of("virgl", "", "Mesa", DeviceType::Other, gl)),
        ] {
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn an_unknown_compiler_is_given_one_row_an_invocation() {
        let all = |target: Target| Invocations::ALL.map(|invocations| target.compiles(invocations));
        assert_eq!(all(Target::Cpu), [false, false, false, true, true, true]);
        assert!(all(Target::Gpu).iter().chain(&all(Target::Llvmpipe)).all(|&compiles| compiles));
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
        }
        assert_eq!("GPU".parse::<Target>(), Err(NoSuchTarget("GPU".into())));
    }
}
