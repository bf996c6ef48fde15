//! A device, bantam's own or the host application's, with what this library needs around it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::adapter;
use super::dispatch::Kernel;
use super::memory::{Buffer, Memory, Reservation};
use super::poller::{self, Poller};
use super::requirements::required_features;
use super::work::SUBMISSION_WORK;
use crate::gpu::kernel::compiled::Compiled;
use crate::gpu::kernel::pipeline_cache::PipelineCache;
use crate::gpu::weights::words::Texture;
use crate::gpu::{GpuError, KernelChoices, Target, Variant};

/// How often a mapping is asked for, where nobody is told of its outcome.
const MAP_TRIES: usize = 8;

/// How often the device is waited for, where others drop buffers meanwhile.
const SETTLE_TRIES: usize = 8;

/// Blocks that the driver is asked for where there is a budget, for buffers that are smaller: so many of them have
/// room in it, of such sizes. wgpu's usual ones are of 128 MiB and more.
const BLOCKS: u64 = 32;
const BLOCK: [u64; 2] = [8 << 20, 64 << 20];

/// How to open a device.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// An adapter's index, in digits, or a part of its name; `None` for the best adapter.
    pub device: Option<String>,
    /// Maximum bytes of all buffers together.
    pub budget: Option<u64>,
    /// Maximum bytes of one storage binding, to set a lower limit than the device's. Larger matrices are then
    /// kept in parts, as on a device with that limit.
    pub max_binding: Option<u64>,
    /// Whether the device's timestamps time passes, if it has them.
    pub timestamps: bool,
    /// Maximum multiply-adds of one submission; `None` for [`SUBMISSION_WORK`]. See
    /// [`Gpu::with_submission_work`].
    pub submission_work: Option<u64>,
    /// The kind of device to choose kernels for; `None` for the device's own kind. See [`Gpu::with_target`].
    pub target: Option<Target>,
    /// The folder that stores kernels that the driver has compiled, so that the next process need not compile
    /// them again. bantam creates it if it does not exist. No other user must be able to write to it, because
    /// the driver trusts what it reads. Only Vulkan drivers support this, and not all of them. `None` reads
    /// and stores nothing.
    pub pipeline_cache: Option<PathBuf>,
}

/// An open device. Clones share it.
#[derive(Debug, Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
    /// All of the device's, or a share.
    memory: Arc<Memory>,
    target: Target,
    choices: KernelChoices,
    submission_work: u64,
    warms_up: bool,
}

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    max_binding: u64,
    kernels: Compiled<Variant, Kernel>,
    poller: Poller,
    submissions: AtomicU64,
    /// Why the device was lost, once it is known to be. On the host's device no callback says so,
    /// but mappings fail.
    lost: Arc<Mutex<Option<String>>>,
    /// What the driver has compiled, where that is kept: of a device of our own.
    pipeline_cache: Option<PipelineCache>,
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
        // Without a handler wgpu panics. Error scopes catch the errors of bantam's own calls; what arrives
        // here has another cause, such as a submission to a device that was just lost.
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

    /// Uses the host application's device. bantam installs no handlers on it and changes none of its
    /// settings. Buffers made here count against `budget`; the host's own do not. Request the device with
    /// [`required_features`] and [`required_limits`].
    ///
    /// [`required_limits`]: crate::gpu::required_limits
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, budget: Option<u64>) -> Self {
        Self::new(device, queue, budget, None, Arc::default(), None)
    }

    fn new(
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

    /// Whether sessions have kernels compiled before they use them.
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

    /// Whether weights that stay are textures.
    pub(in crate::gpu) fn has_textures(&self) -> bool {
        self.choices.textures && Texture::most_bytes(&self.inner.device).is_some()
    }

    /// Maximum bytes of one storage binding.
    pub fn max_binding(&self) -> u64 {
        self.inner.max_binding
    }

    /// Makes a zeroed buffer of `size` bytes, but at least 16, so that it can always be bound.
    pub fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Result<Buffer, GpuError> {
        let size = Self::buffer_bytes(size);
        if usage.contains(wgpu::BufferUsages::STORAGE) && size > self.max_binding() {
            return Err(GpuError::BindingTooLarge {
                label: label.into(),
                wanted: size,
                limit: self.max_binding(),
            });
        }
        self.any_buffer(label, size, usage)
    }

    /// Bytes that a buffer of `size` bytes takes.
    pub fn buffer_bytes(size: u64) -> u64 {
        size.max(16).next_multiple_of(4)
    }

    /// As [`Gpu::buffer`], of as many bytes as a buffer can have: shaders see only
    /// [parts](Buffer::part_of) of it.
    pub(in crate::gpu) fn any_buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer, GpuError> {
        let limit = self.inner.device.limits().max_buffer_size;
        if size > limit {
            return Err(GpuError::BindingTooLarge { label: label.into(), wanted: size, limit });
        }
        let reservation = self.reserve(label, size)?;
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let raw = self.checked(label, size, || self.inner.device.create_buffer(&descriptor))?;
        Ok(Buffer::new(raw, reservation))
    }

    /// Takes bytes from the budget. Where they do not fit beside what was dropped and the device is not done with,
    /// it is waited for; who must not wait has [settled](Self::settle) that before.
    pub(in crate::gpu) fn reserve(&self, label: &str, bytes: u64) -> Result<Reservation, GpuError> {
        let reservation = self.memory.reserve(label, bytes)?;
        for _ in 0..SETTLE_TRIES {
            // Callbacks run on the thread that polls: there, nobody would end the waiting.
            if !self.memory.is_crowded() || self.inner.poller.is_here() {
                break;
            }
            let done = pollster::block_on(self.done());
            done.unwrap_or(Ok(())).map_err(|why| self.lost_by(why))?;
        }
        Ok(reservation)
    }

    /// Waits until the device is done with what was dropped, where there is a budget that it may be in the way of.
    pub(crate) async fn settle(&self) -> Result<(), GpuError> {
        if self.memory.leaving() == 0 || self.memory.left().is_none() {
            return Ok(());
        }
        self.idle().await
    }

    /// Waits until the device is done with all that was submitted so far.
    pub(in crate::gpu) async fn idle(&self) -> Result<(), GpuError> {
        self.done().await.unwrap_or(Ok(())).map_err(|why| self.lost_by(why))
    }

    /// Makes a buffer that shaders read, filled with `contents`. Use it for small data such as parameters; an
    /// [`Uploader`](crate::gpu::Uploader) uploads weights.
    pub fn buffer_with(
        &self,
        label: &str,
        contents: &[u8],
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer, GpuError> {
        let buffer = self.buffer(label, contents.len() as u64, usage | wgpu::BufferUsages::COPY_DST)?;
        let mut padded = Cow::Borrowed(contents);
        if !contents.len().is_multiple_of(4) {
            padded.to_mut().resize(contents.len().next_multiple_of(4), 0);
        }
        self.write(&buffer, &padded)?;
        Ok(buffer)
    }

    /// Writes a multiple of four bytes to the start of a buffer, before anything that is submitted later. Use
    /// it for small data: wgpu stages it in its own memory, which bantam does not count.
    pub fn write(&self, buffer: &Buffer, contents: &[u8]) -> Result<(), GpuError> {
        self.checked("write", contents.len() as u64, || {
            self.inner.queue.write_buffer(buffer.raw(), 0, contents)
        })
    }

    /// Runs `call` with wgpu's errors caught, for a buffer or another object of `size` bytes.
    pub(in crate::gpu) fn checked<T>(
        &self,
        label: &str,
        size: u64,
        call: impl FnOnce() -> T,
    ) -> Result<T, GpuError> {
        let validation = self.inner.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.inner.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let result = call();
        // On native platforms these futures are ready at once.
        let internal = pollster::block_on(internal.pop());
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        self.check_lost()?;
        if memory.is_some() {
            let used = self.memory.used();
            return Err(GpuError::OutOfMemory { label: label.into(), wanted: size, used, budget: None });
        }
        match internal.or(validation) {
            Some(error) if self.is_gone() => Err(self.lost_by(error.to_string())),
            Some(error) => Err(GpuError::Validation(format!("{label}: {error}"))),
            None => Ok(result),
        }
    }

    /// Whether the device was lost and nobody said so: wgpu then gives buffers that are none, and refuses
    /// what is done with them. One that can be written to at once shows it.
    fn is_gone(&self) -> bool {
        let device = &self.inner.device;
        let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];
        let [validation, memory] = scopes.map(|filter| device.push_error_scope(filter));
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        let is_mapped = buffer.get_mapped_range_mut(..).is_ok();
        let has_memory = pollster::block_on(memory.pop()).is_none();
        let _ = pollster::block_on(validation.pop());
        has_memory && !is_mapped
    }

    /// Returns an error if the device is known to be lost.
    pub fn check_lost(&self) -> Result<(), GpuError> {
        match &*self.inner.lost.lock().unwrap_or_else(|e| e.into_inner()) {
            Some(message) => Err(GpuError::DeviceLost(message.clone())),
            None => Ok(()),
        }
    }

    /// Takes note that a mapping failed, which only the device's end can be the reason for.
    pub(in crate::gpu) fn lost_by(&self, why: String) -> GpuError {
        let mut lost = self.inner.lost.lock().unwrap_or_else(|e| e.into_inner());
        GpuError::DeviceLost(lost.get_or_insert(why).clone())
    }

    /// The compiled kernel of `variant`, which is compiled on first use.
    pub fn kernel(&self, variant: Variant) -> Result<Arc<Kernel>, GpuError> {
        self.inner.kernels.get(variant, |variant| Kernel::compile(self, variant))
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

    /// Counts time that the driver took to compile what had been made already.
    pub(in crate::gpu) fn count_compile_time(&self, time: Duration) {
        self.inner.kernels.add_time(time);
    }

    /// What pipelines are made with.
    pub(in crate::gpu) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.inner.pipeline_cache.as_ref().map(PipelineCache::raw)
    }

    /// Submits one encoder's commands.
    pub fn submit(
        &self,
        label: &str,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<(), GpuError> {
        self.checked(label, 0, || {
            let mut encoder = self
                .inner
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) });
            encode(&mut encoder);
            self.inner.queue.submit([encoder.finish()]);
            self.inner.submissions.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Sees that buffers are freed that were dropped before the device was done with them: wgpu frees them
    /// when somebody polls the device after that, which may otherwise be never.
    pub(in crate::gpu) fn sweep(&self) {
        drop(self.done());
    }

    /// Tells when the device is done with all that was submitted so far. The device is polled until then,
    /// whether anybody listens or not.
    pub(in crate::gpu) fn done(&self) -> oneshot::Receiver<poller::Outcome> {
        let (ticket, outcome) = self.inner.poller.wait();
        let fence = self.memory.fence();
        self.inner.queue.on_submitted_work_done(move || {
            drop(fence);
            ticket.resolve(Ok(()));
        });
        outcome
    }

    /// Number of submissions so far.
    pub fn submissions(&self) -> u64 {
        self.inner.submissions.load(Ordering::Relaxed)
    }

    /// Tells when the device is done with all that was submitted so far, about, once it is.
    pub(crate) fn when_done(&self) -> Arc<OnceLock<Instant>> {
        let done = Arc::<OnceLock<Instant>>::default();
        let theirs = done.clone();
        // Nobody needs to wait for it, but somebody has to poll.
        let (ticket, _) = self.inner.poller.wait();
        self.inner.queue.on_submitted_work_done(move || {
            let _ = theirs.set(Instant::now());
            ticket.resolve(Ok(()));
        });
        done
    }

    /// Asks for a mapping now, to be awaited later.
    pub(in crate::gpu) fn start_map(
        &self,
        buffer: &Buffer,
        mode: wgpu::MapMode,
        len: u64,
    ) -> impl Future<Output = Result<(), GpuError>> + use<> {
        let raw = buffer.raw().clone();
        let mut asked = self.ask_for_map(&raw, mode, len);
        let gpu = self.clone();
        async move {
            for _ in 0..MAP_TRIES {
                match asked?.await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(why)) => return Err(gpu.lost_by(why)),
                    // Nobody was told. wgpu 30 loses what it has to tell where a host configures a window's
                    // surface while we submit. The buffer may be mapped; if not, this does nothing.
                    Err(oneshot::Canceled) => {
                        let _ = gpu.checked("unmap", len, || raw.unmap());
                        asked = gpu.ask_for_map(&raw, mode, len).map_err(|error| match error {
                            GpuError::DeviceLost(_) => error,
                            other => gpu.lost_by(other.to_string()),
                        });
                    }
                }
            }
            Err(gpu.lost_by("a mapping never completed".into()))
        }
    }

    /// Asks for a mapping, and gives what tells of its outcome.
    fn ask_for_map(
        &self,
        buffer: &wgpu::Buffer,
        mode: wgpu::MapMode,
        len: u64,
    ) -> Result<oneshot::Receiver<poller::Outcome>, GpuError> {
        let (ticket, outcome) = self.inner.poller.wait();
        self.checked("map", len, || {
            buffer.map_async(mode, 0..len, move |result| {
                ticket.resolve(result.map_err(|error| error.to_string()))
            });
        })?;
        Ok(outcome)
    }
}

/// How the driver is to divide its memory, so that what it takes is about what is counted: blocks would be larger than
/// a small budget. Buffers that are larger than a block have one of their own.
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
