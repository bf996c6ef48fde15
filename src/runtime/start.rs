//! A device to run models on.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::RuntimeError;
use super::loading::{Parts, Watched};
use super::text_model::TextModel;
use super::work::{Workers, Working};
use crate::archive::Progress;
use crate::gpu::{Gpu, GpuOptions, KernelChoices, check_limits};
use crate::model::LoadOptions;

/// How a runtime uses its device.
#[derive(Debug, Clone, Default)]
pub struct RuntimeOptions {
    /// An adapter's index or a part of its name; the best one where nothing is given. Not looked at where
    /// the application brings its device.
    pub adapter: Option<String>,
    /// The most bytes of device memory that all models and their sessions may take together. What each
    /// model is loaded with comes from what the others leave, and layers that do not fit are streamed.
    pub budget: Option<u64>,
    /// Which kernels products have, where that is known of the device
    /// ([`Calibration`](crate::bench::Calibration) finds out); else the usual ones.
    pub kernels: Option<KernelChoices>,
    /// The most multiply-adds of one submission; [`SUBMISSION_WORK`](crate::gpu::SUBMISSION_WORK) where
    /// nothing is given. Less of it lets the device turn to the application's frames more often. See
    /// [`Gpu::with_submission_work`].
    pub submission_work: Option<u64>,
    /// The folder where what the driver has compiled is kept for the next process; see
    /// [`GpuOptions::pipeline_cache`]. Not looked at where the application brings its device.
    pub pipeline_cache: Option<PathBuf>,
}

/// A device, with what models on it share: compiled kernels, and a budget. Clones share it too.
///
/// It lives as long as a clone of it, or anything that was made with it. When the last goes, work that
/// was cancelled is waited for: about as long as one tensor takes to load.
#[derive(Debug, Clone)]
pub struct Runtime {
    gpu: Gpu,
    pub(super) workers: Arc<Workers>,
}

impl Runtime {
    /// Opens a device of its own.
    pub async fn new(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        let (device, budget) = (options.adapter.clone(), options.budget);
        let pipeline_cache = options.pipeline_cache.clone();
        let gpu = Gpu::open(&GpuOptions { device, budget, pipeline_cache, ..GpuOptions::default() }).await?;
        Ok(Self::with(gpu, options))
    }

    /// Uses a device of the application, which goes on using it. Nothing is installed on it, and none of its
    /// settings change. An error where it was requested with limits too low for any kernel; see
    /// [`required_limits`](super::required_limits) and [`required_features`](super::required_features).
    ///
    /// Neither instance nor adapter is needed: a device tells its adapter's name and kind, its own limits and
    /// features, and nothing else is asked.
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

    /// [`Runtime::new`], waited for on this thread.
    pub fn new_blocking(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        pollster::block_on(Self::new(options))
    }

    /// Loads a model folder, compressed or not: its files, tokenizer, chat template, and weights. Of
    /// `options.device_budget`, see there; the runtime's budget holds in any case.
    ///
    /// The work begins at once, on a thread of its own, and what is returned tells when it is done.
    /// `progress` counts original bytes, from that thread. It is cancelled by `progress`, or by dropping
    /// what is returned: within one tensor, and then all memory is given back. An
    /// [`Arc`] of a [`Progress`] is one too, `()` ignores it.
    pub fn load(
        &self,
        folder: impl Into<PathBuf>,
        options: LoadOptions,
        progress: impl Progress + Send + 'static,
    ) -> Working<TextModel> {
        let (gpu, folder, runtime) = (self.gpu.clone(), folder.into(), self.clone());
        let loading = self.workers.begin(move |stop| {
            let watched = Watched { progress: &progress, stop: Some(stop) };
            pollster::block_on(Parts::load(&gpu, &folder, &options, &watched))
        });
        loading.then(move |parts| TextModel::new(runtime, parts))
    }

    /// [`Runtime::load`] on this thread.
    pub fn load_blocking(
        &self,
        folder: impl Into<PathBuf>,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<TextModel, RuntimeError> {
        let watched = Watched { progress, stop: None };
        let parts = pollster::block_on(Parts::load(&self.gpu, &folder.into(), options, &watched))?;
        Ok(TextModel::new(self.clone(), parts))
    }

    /// The device: its memory, kernels, and everything that a runtime does not have a word for.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}
