//! Opening a device.

use std::sync::{Arc, Mutex};

use super::adapter;
use super::gpu::Gpu;
use super::options::GpuOptions;
use super::requirements::required_features;
use super::work::SUBMISSION_WORK;
use crate::gpu::kernel::pipeline_cache::PipelineCache;
use crate::gpu::{GpuError, Target};

/// Number of the driver's memory blocks that should fit into a budget, for buffers smaller than a block.
/// wgpu's usual blocks have 128 MiB and more.
const BLOCKS: u64 = 32;
const BLOCK: [u64; 2] = [8 << 20, 64 << 20];

impl Gpu {
    /// Opens a device.
    ///
    /// On Windows this prefers Vulkan, if there is a Vulkan driver. With DirectX 12, DXC compiles the kernels
    /// if `dxcompiler.dll` (1.8.2502 or newer) is next to the program or on the path, or if the program was
    /// built with wgpu's feature `static-dxc`. Otherwise FXC compiles them, which takes much longer, and
    /// bantam logs a warning. `WGPU_DX12_COMPILER` (`dxc`, `staticdxc`, `fxc`) selects one of them. A host
    /// that opens its own device selects it in `InstanceDescriptor::backend_options`.
    pub async fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        let adapter = adapter::choose(options.device.as_deref()).await?;
        let timestamps = match options.timestamps {
            true => wgpu::Features::TIMESTAMP_QUERY,
            false => wgpu::Features::empty(),
        };
        let cache = match options.pipeline_cache {
            Some(_) => wgpu::Features::PIPELINE_CACHE,
            None => wgpu::Features::empty(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("bantam"),
            required_features: (adapter.features() & (timestamps | cache)) | required_features(&adapter),
            required_limits: adapter.limits(),
            memory_hints: memory_hints(options.budget),
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|e| GpuError::NoDevice(e.to_string()))?;
        let lost = Arc::new(Mutex::new(None));
        let theirs = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                log::error!("device lost: {message}");
            }
            *theirs.lock().unwrap_or_else(|e| e.into_inner()) = Some(message);
        });
        // Without a handler, wgpu panics. Error scopes catch the errors of bantam's own calls. Errors that
        // arrive here have another cause, such as a submission to a device that was just lost.
        device.on_uncaptured_error(Arc::new(|error| log::error!("{error}")));
        let info = adapter.get_info();
        log::info!("using {}", adapter::name_of(&info));
        if adapter::has_only_fxc(info.backend, adapter.features()) {
            log::warn!(
                "DirectX 12 without DXC: FXC compiles the kernels, which takes long; put dxcompiler.dll next to the \
                 program, or install a Vulkan driver"
            );
        }
        let target = options.target.unwrap_or_else(|| Target::of(&info));
        let folder = options.pipeline_cache.as_deref();
        let cache = folder.and_then(|folder| PipelineCache::open(&device, target, folder));
        let gpu = Self::new(device, queue, options.budget, options.max_binding, lost, cache);
        let gpu = gpu.with_submission_work(options.submission_work.unwrap_or(SUBMISSION_WORK));
        Ok(gpu.with_target(target))
    }
}

/// How the driver should allocate blocks, so that it takes about as much memory as bantam counts: the usual
/// blocks would exceed a small budget. Buffers larger than a block get their own.
fn memory_hints(budget: Option<u64>) -> wgpu::MemoryHints {
    match budget {
        None => wgpu::MemoryHints::Performance,
        Some(budget) => {
            let [least, most] = BLOCK;
            let block = (budget / BLOCKS / least * least).clamp(least, most);
            wgpu::MemoryHints::Manual { suballocated_device_memory_block_size: least..block }
        }
    }
}
