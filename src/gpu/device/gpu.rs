//! A device, bantam's own or the host application's, with the library's data about it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::adapter;
use super::memory::Memory;
use super::poller::Poller;
use super::texture::Texture;
use super::work::SUBMISSION_WORK;
use crate::gpu::kernel::compile::Parsed;
use crate::gpu::kernel::compiled::Compiled;
use crate::gpu::kernel::pipeline_cache::PipelineCache;
use crate::gpu::{GpuError, Kernel, KernelChoices, Target, Variant};

/// An open device. Clones share it.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(super) inner: Arc<Inner>,
    /// Counts all of the device's memory, or a share.
    pub(super) memory: Arc<Memory>,
    target: Target,
    choices: KernelChoices,
    submission_work: u64,
    warms_up: bool,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub max_binding: u64,
    pub kernels: Compiled<Variant, Kernel>,
    pub poller: Poller,
    pub submissions: AtomicU64,
    /// Why the device was lost, once that is known. On a host's device no callback reports it, but mappings
    /// fail.
    pub lost: Arc<Mutex<Option<String>>>,
    /// The driver's compiled kernels, if they are stored. Only on bantam's own device.
    pub pipeline_cache: Option<PipelineCache>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let is_lost = self.lost.lock().unwrap_or_else(|e| e.into_inner()).is_some();
        if let (Some(cache), false) = (&self.pipeline_cache, is_lost) {
            cache.store();
        }
    }
}

impl Gpu {
    /// Uses the host application's device. bantam installs no handlers on it and changes none of its
    /// settings. Buffers made here count against `budget`; the host's own do not. Request the device with
    /// [`required_features`] and [`required_limits`].
    ///
    /// [`required_features`]: crate::gpu::required_features
    /// [`required_limits`]: crate::gpu::required_limits
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, budget: Option<u64>) -> Self {
        Self::new(device, queue, budget, None, Arc::default(), None)
    }

    pub(super) fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        budget: Option<u64>,
        max_binding: Option<u64>,
        lost: Arc<Mutex<Option<String>>>,
        pipeline_cache: Option<PipelineCache>,
    ) -> Self {
        let limits = device.limits();
        let allowed = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let target = Target::of(&device.adapter_info());
        let inner = Inner {
            max_binding: max_binding.map_or(allowed, |wanted| wanted.min(allowed)),
            poller: Poller::new(device.clone()),
            device,
            queue,
            kernels: Compiled::default(),
            submissions: AtomicU64::new(0),
            lost,
            pipeline_cache,
        };
        let memory = Memory::with_budget(budget);
        let choices = KernelChoices::usual(target);
        let (inner, submission_work) = (Arc::new(inner), SUBMISSION_WORK);
        Self { inner, memory, target, choices, submission_work, warms_up: false }
    }

    /// The same device with other kernels. Models and sessions use the kernels of the `Gpu` that they were
    /// made with. bantam does not time kernels by itself: pass the choices that
    /// [`Calibration::run`](crate::bench::Calibration::run) returns.
    pub fn with_choices(&self, choices: KernelChoices) -> Self {
        Self { choices, ..self.clone() }
    }

    /// The same device with the [default](KernelChoices::usual) kernels and layouts of another kind of
    /// device, for models and sessions made with the result. With each kind, compressed weights give the same
    /// bits as raw ones. Tests use this to run a GPU's code paths on a machine without one.
    pub fn with_target(&self, target: Target) -> Self {
        Self { target, choices: KernelChoices::usual(target), ..self.clone() }
    }

    /// The same device, with a separate count of the buffers made with the result, which take at most
    /// `budget` bytes together: one model's share of a device that several models use.
    pub fn with_share(&self, budget: Option<u64>) -> Self {
        Self { memory: self.memory.share(budget), ..self.clone() }
    }

    /// The same device, on which sessions of models loaded with the result submit at most `multiply_adds` at
    /// a time: a pass with more is split into several submissions. A dispatch is never split, so the product
    /// of a very large matrix can exceed the limit.
    ///
    /// A smaller number lets the device serve others sooner: a frame of the host waits for at most two
    /// submissions. Each submission costs the CPU some tens of microseconds.
    pub fn with_submission_work(&self, multiply_adds: u64) -> Self {
        Self { submission_work: multiply_adds, ..self.clone() }
    }

    /// The same device, on which sessions of models loaded with the result first make the driver compile what
    /// they will submit, and wait for that. [`Gpu::compile_time`] then includes drivers that compile at first
    /// use, so that you can exclude compiling when you time tokens. This costs one more submission for each
    /// kind of batch, and makes nothing faster.
    pub fn with_warm_up(&self) -> Self {
        Self { warms_up: true, ..self.clone() }
    }

    /// Whether sessions compile kernels before they use them.
    pub(in crate::gpu) fn warms_up(&self) -> bool {
        self.warms_up
    }

    /// The kernel variants that products use.
    pub fn choices(&self) -> &KernelChoices {
        &self.choices
    }

    /// Maximum multiply-adds of one submission.
    pub fn submission_work(&self) -> u64 {
        self.submission_work
    }

    /// The wgpu device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// A name of this device for people.
    pub fn name(&self) -> String {
        adapter::name_of(&self.inner.device.adapter_info())
    }

    /// The kind of device that kernels and layouts are chosen for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Whether kernels and layouts are chosen for a CPU.
    pub fn is_cpu(&self) -> bool {
        self.target.is_cpu()
    }

    /// Counts the bytes of this device's buffers, or of those in a [share](Self::with_share).
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether resident weights are textures.
    pub(in crate::gpu) fn has_textures(&self) -> bool {
        self.choices.textures && Texture::most_bytes(&self.inner.device).is_some()
    }

    /// Bytes of device memory for a texture of so many bytes.
    #[cfg(feature = "runtime")]
    pub(crate) fn texture_bytes(&self, bytes: u64) -> u64 {
        Texture::bytes_of(bytes)
    }

    /// Maximum bytes of a texture of words; 0 if textures do not pay off on the device.
    #[cfg(feature = "runtime")]
    pub(crate) fn max_texture_bytes(&self) -> u64 {
        if self.has_textures() { Texture::most_bytes(&self.inner.device).unwrap_or(0) } else { 0 }
    }

    /// Maximum bytes of one storage binding.
    pub fn max_binding(&self) -> u64 {
        self.inner.max_binding
    }

    /// The compiled kernel of `variant`, which is compiled on first use.
    pub fn kernel(&self, variant: Variant) -> Result<Arc<Kernel>, GpuError> {
        self.inner.kernels.get(variant, |variant| {
            let parsed = Parsed::of(variant)?;
            let label = parsed.label().to_string();
            self.checked(&label, 0, || parsed.compile(self.device(), self.pipeline_cache()))
        })
    }

    /// Number of kernels compiled so far. All models on this device share them.
    pub fn kernels(&self) -> usize {
        self.inner.kernels.len()
    }

    /// Total time spent compiling kernels. For drivers that compile at first use it is known only with a
    /// [warm-up](Self::with_warm_up), and not for OpenGL drivers, which compile nothing for an empty
    /// dispatch.
    pub fn compile_time(&self) -> Duration {
        self.inner.kernels.time()
    }

    /// Adds time that the driver took to compile existing pipelines.
    pub(in crate::gpu) fn count_compile_time(&self, time: Duration) {
        self.inner.kernels.add_time(time);
    }

    /// The cache for creating pipelines.
    pub(in crate::gpu) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.inner.pipeline_cache.as_ref().map(PipelineCache::raw)
    }
}
