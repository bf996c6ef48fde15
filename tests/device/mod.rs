//! The device that tests run on: the one `BANTAM_DEVICE` names, or the best there is.
#![allow(dead_code, reason = "each test binary uses its own part")]

use bantam::gpu::{Gpu, GpuOptions};

pub fn gpu() -> Gpu {
    open(GpuOptions::default())
}

/// The same device, on which a matrix of more than `bytes` is kept in parts.
pub fn gpu_with_bindings_of(bytes: u64) -> Gpu {
    open(GpuOptions { max_binding: Some(bytes), ..GpuOptions::default() })
}

fn open(options: GpuOptions) -> Gpu {
    let options = GpuOptions { device: std::env::var("BANTAM_DEVICE").ok(), ..options };
    pollster::block_on(Gpu::open(&options)).expect("tests need an adapter; scripts/test installs one")
}

/// Every adapter of this machine, so that the decoder is tried on each stack that is installed.
pub fn every_gpu() -> Vec<Gpu> {
    let count = pollster::block_on(bantam::gpu::adapters()).len();
    assert!(count > 0, "tests need an adapter; scripts/test installs one");
    (0..count)
        .map(|i| {
            let options = GpuOptions { device: Some(i.to_string()), ..GpuOptions::default() };
            pollster::block_on(Gpu::open(&options)).unwrap()
        })
        .collect()
}
