//! `--device`: which device a command opens.

use bantam::gpu::{Gpu, GpuOptions, Target};

use super::{Result, cache};

#[derive(clap::Args)]
pub struct DeviceArgs {
    /// Adapter to use: its index in `bantam devices`, or a part of its name
    #[arg(long, env = "BANTAM_DEVICE", value_name = "NAME")]
    pub device: Option<String>,
    /// Choose kernels and layouts for another kind of device: gpu, llvmpipe (Mesa's software drivers) or cpu
    /// (other software drivers). Attention sums in a different order on a GPU than on a CPU
    #[arg(long = "as", env = "BANTAM_AS", value_name = "KIND", hide_short_help = true)]
    pub target: Option<Target>,
}

impl DeviceArgs {
    pub fn open(&self) -> Result<Gpu> {
        self.open_within(None)
    }

    /// The device to open, and the kind to treat it as.
    pub fn options(&self) -> GpuOptions {
        GpuOptions {
            device: self.device.clone(),
            target: self.target,
            pipeline_cache: cache::folder(),
            ..GpuOptions::default()
        }
    }

    /// Opens the device with a budget in bytes.
    pub fn open_within(&self, budget: Option<u64>) -> Result<Gpu> {
        Ok(pollster::block_on(Gpu::open(&GpuOptions { budget, ..self.options() }))?)
    }
}
