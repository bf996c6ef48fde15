//! Opens a device to run models on.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::RuntimeError;
use super::work::Workers;
use crate::gpu::{Gpu, GpuOptions, KernelChoices, check_limits};

/// Options of a runtime.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RuntimeOptions {
    /// An adapter's index or a part of its name; `None` for the best adapter. Ignored if the application
    /// provides the device.
    pub device: Option<String>,
    /// Maximum bytes of device memory for all models and their sessions together. Each model gets what the
    /// others leave; layers that do not fit are streamed.
    pub budget: Option<u64>,
    /// The kernels for products, such as those that [`Calibration`](crate::bench::Calibration) finds to be
    /// fastest on the device; `None` for the default ones.
    pub kernels: Option<KernelChoices>,
    /// Maximum multiply-adds of one submission; `None` for [`SUBMISSION_WORK`](crate::gpu::SUBMISSION_WORK).
    /// A smaller number lets the device draw the application's frames sooner. See
    /// [`Gpu::with_submission_work`].
    pub submission_work: Option<u64>,
    /// The folder that stores compiled kernels for the next process; see [`GpuOptions::pipeline_cache`].
    /// Ignored if the application provides the device.
    pub pipeline_cache: Option<PathBuf>,
}

setters! {
    RuntimeOptions {
        device: Option<String> => with_device,
        budget: Option<u64> => with_budget,
        kernels: Option<KernelChoices> => with_kernels,
        submission_work: Option<u64> => with_submission_work,
        pipeline_cache: Option<PathBuf> => with_pipeline_cache,
    }
}

/// A device, and everything that all models on it share: compiled kernels and a budget. Clones share it too.
///
/// A runtime lives as long as any clone of it, or anything created with it. Dropping the last of these waits
/// for cancelled work, which ends within a few megabytes of a tensor or one kernel.
#[derive(Debug, Clone)]
pub struct Runtime {
    gpu: Gpu,
    pub(super) workers: Arc<Workers>,
}

impl Runtime {
    /// Opens a device for this runtime.
    pub async fn new(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        let (device, budget) = (options.device.clone(), options.budget);
        let pipeline_cache = options.pipeline_cache.clone();
        let gpu = Gpu::open(&GpuOptions { device, budget, pipeline_cache, ..GpuOptions::default() }).await?;
        Ok(Self::with(gpu, options))
    }

    /// Uses the application's device, which the application can keep using. bantam installs no handlers on it
    /// and changes none of its settings. Returns an error if the device's limits are too low for the kernels;
    /// see [`required_limits`](super::required_limits) and [`required_features`](super::required_features).
    ///
    /// bantam needs neither the instance nor the adapter: the device itself reports its adapter's name and
    /// kind, its limits and its features.
    pub fn from_device(
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &RuntimeOptions,
    ) -> Result<Self, RuntimeError> {
        check_limits(&device)?;
        Ok(Self::with(Gpu::from_device(device, queue, options.budget), options))
    }

    fn with(mut gpu: Gpu, options: &RuntimeOptions) -> Self {
        if let Some(kernels) = options.kernels {
            gpu = gpu.with_choices(kernels);
        }
        if let Some(work) = options.submission_work {
            gpu = gpu.with_submission_work(work);
        }
        Self { gpu, workers: Arc::default() }
    }

    /// [`Runtime::new`], which blocks this thread.
    pub fn new_blocking(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        pollster::block_on(Self::new(options))
    }

    /// The device, for its memory, its kernels, and everything else that a runtime does not offer itself.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}
