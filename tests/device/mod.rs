//! The device that tests run on: the one `BANTAM_DEVICE` names, or the best there is, with the kernels of the kind of
//! device that `BANTAM_AS` names, or of its own kind.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::OnceLock;

use bantam::gpu::{Gpu, GpuOptions, Target};

pub fn gpu() -> Gpu {
    open(GpuOptions::default())
}

/// The same device for all tests of a binary, so that a kernel is compiled once for all of them. Each counts its own
/// memory. Not for tests that lose the device, or count what is
/// submitted to it or made on it.
pub fn shared() -> Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(gpu).with_share(None)
}

/// The same device, on which a matrix of more than `bytes` is kept in parts.
pub fn gpu_with_bindings_of(bytes: u64) -> Gpu {
    open(GpuOptions { max_binding: Some(bytes), ..GpuOptions::default() })
}

/// The same device, opened as `options` say otherwise.
pub fn open(options: GpuOptions) -> Gpu {
    let options = GpuOptions { device: std::env::var("BANTAM_DEVICE").ok(), target: target(), ..options };
    pollster::block_on(Gpu::open(&options)).expect("tests need an adapter; scripts/test installs one")
}

/// A host's device, with the kernels of the kind of device that `BANTAM_AS` names.
pub fn as_asked(gpu: Gpu) -> Gpu {
    match target() {
        Some(target) => gpu.with_target(target),
        None => gpu,
    }
}

/// What `BANTAM_AS` says.
pub fn target() -> Option<Target> {
    std::env::var("BANTAM_AS").ok().map(|name| name.parse().unwrap())
}

/// Every adapter of this machine, so that the decoder is tried on each stack that is installed.
pub fn every_gpu() -> Vec<Gpu> {
    let count = pollster::block_on(bantam::gpu::adapters()).len();
    assert!(count > 0, "tests need an adapter; scripts/test installs one");
    (0..count)
        .map(|i| {
            let options =
                GpuOptions { device: Some(i.to_string()), target: target(), ..GpuOptions::default() };
            pollster::block_on(Gpu::open(&options)).unwrap()
        })
        .collect()
}
