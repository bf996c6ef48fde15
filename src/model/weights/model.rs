//! A model's weights in device memory, and how they are stored there.

use std::sync::{Arc, Mutex, Weak};

use crate::archive::{ModelFiles, Progress};
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Buffer, Gpu, Sweep, Uploader, WideRoom};
use crate::model::compute::layer::LayerWeights;
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::files::reading::Reading;
use crate::model::files::runnable::require_runnable;
use crate::model::loading::loader::Loader;
use crate::model::plan::planned::Planned;
use crate::model::plan::precisions::Precisions;
use crate::model::weights::rotations::Rotations;
use crate::stream::{Passes, Plan, Ring, StreamStats, TokenRows};

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Decompress all weights while loading, and compute from the original ones, to compare compressed runs
    /// with.
    pub raw: bool,
    /// Layout of compressed weights in device memory.
    pub layout: Layout,
    /// Precision at which compressed weights are loaded. Bits beyond it are neither read nor uploaded.
    pub precision: Precisions,
    /// Maximum bytes of device memory for all buffers of this model and its sessions; allocations beyond it
    /// fail. If the device has a budget too, the model also gets no more than what is left of that. Weights
    /// that do not fit are streamed from their file, which must not change while the model is in use. Only
    /// compressed weights can be streamed.
    ///
    /// Without either limit, all weights stay in device memory.
    pub device_budget: Option<u64>,
    /// Bytes of the budget to reserve for sessions: the sum of [`Session::device_bytes`] over all sessions
    /// that will exist at the same time. The default is one session of 1024 positions, or what the model was
    /// made for if that is less, that computes the last token's logits.
    ///
    /// [`Session::device_bytes`]: crate::model::Session::device_bytes
    pub working_set: Option<u64>,
}

/// Default context length in positions, for which a model leaves memory.
pub const USUAL_CONTEXT: usize = 1024;

/// Layout of compressed weights in device memory. Each gives the same bits.
///
/// Streamed weights are always dense tiles, with one exception: if a CPU acts as the device, they are decoded
/// while they are streamed, as far as there is room for uncompressed weights, unless [`Layout::Dense`] is
/// requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// As in the file: the smallest layout, about 10.6 bits for each BF16.
    Dense,
    /// BF16 takes about 12 bits and is read faster than from dense tiles; other types as [`Layout::Dense`].
    Fast,
    /// Fast if the device's [choices](crate::gpu::KernelChoices) say that it is faster and if all of it fits
    /// (if a CPU acts as the device, also if it does not fit); otherwise dense.
    #[default]
    Auto,
}

/// A model's weights on a device.
#[derive(Debug)]
pub struct Model {
    pub(crate) gpu: Gpu,
    pub(crate) config: ModelConfig,
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) norm: Buffer,
    /// The output matrix: all of it, or its rows part by part.
    pub(crate) output: Vec<DeviceMatrix>,
    pub(crate) plan: Option<Plan>,
    pub(crate) precisions: Precisions,
    /// What weights are widened into for batches, where there is room for it.
    pub(crate) wide_room: Option<WideRoom>,
    /// The rotations that living sessions share.
    pub(crate) rotations: Mutex<Weak<Rotations>>,
    /// What drives passes where sessions share a ring, or what brings rows of the embedding. Before these, so that
    /// its thread has let go of them.
    pub(crate) passes: Option<Passes>,
    /// Where streamed weights are.
    pub(crate) ring: Option<Arc<Ring>>,
    // Last: it frees what the others leave.
    pub(crate) _sweep: Sweep,
}

/// Where rows of the embedding are found.
#[derive(Debug)]
pub(crate) enum Embedding {
    /// In the output matrix, which is in one piece then.
    InOutput,
    /// In a matrix of its own.
    Apart(Box<DeviceMatrix>),
    /// In their file.
    OnHost(Arc<TokenRows>),
}

impl Model {
    /// Uploads the weights of `files`; compressed weights stay compressed. It compares all checksums.
    /// Progress counts original bytes.
    ///
    /// A separate thread reads and checks the files, and waiting for the device is asynchronous. Between two
    /// waits, the future still lays out a tensor or compiles kernels that transcode: await it on an executor
    /// whose tasks may compute.
    pub async fn load(
        gpu: &Gpu,
        files: &ModelFiles,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Self, ModelError> {
        let reading = &Reading::new()?;
        let theirs = files.clone();
        let config = reading.run(move || runnable_config(&theirs)).await??;
        let gpu = &gpu.with_share(options.device_budget);
        let planned = Planned::promised(gpu, files, &config, options, reading).await?;
        gpu.settle().await?;
        let uploader = Uploader::within(gpu, planned.staging)?;
        let mut loader = Loader::new(gpu, files, options.raw, &planned, reading, uploader, progress);
        let total = files.weights().map(|w| w.original_len as u64).fold(0, u64::saturating_add);
        progress.begin(total, "loading");
        let model = loader.model(config).await;
        progress.finish();
        model
    }

    /// The plan for keeping a model in device memory, without loading it; `None` if memory is [not
    /// limited](LoadOptions::device_budget). If memory is too small, it returns an error that names the
    /// minimum.
    pub fn plan(gpu: &Gpu, files: &ModelFiles, options: &LoadOptions) -> Result<Option<Plan>, ModelError> {
        Ok(Self::plan_with_precisions(gpu, files, options)?.0)
    }

    /// Like [`Model::plan`], with the precision at which each weight would be read; for
    /// [`Precisions::Auto`], the chosen ones.
    pub fn plan_with_precisions(
        gpu: &Gpu,
        files: &ModelFiles,
        options: &LoadOptions,
    ) -> Result<(Option<Plan>, Precisions), ModelError> {
        let config = runnable_config(files)?;
        let planned = Planned::new(&gpu.with_share(options.device_budget), files, &config, options)?;
        Ok((planned.plan, planned.precisions))
    }

    /// The precision at which each weight was read.
    pub fn precisions(&self) -> &Precisions {
        &self.precisions
    }

    /// The plan for keeping this model in device memory, if there is a budget.
    pub fn residency(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What streaming has cost since the model was loaded; all zero if no weights are streamed.
    pub fn stream_stats(&self) -> StreamStats {
        self.ring.as_deref().map(Ring::stats).unwrap_or_default()
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device that the weights are on. It counts the memory of this model and its sessions.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Bytes of the buffer into which weights are widened for batches; 0 if none are widened.
    pub fn wide_room_bytes(&self) -> u64 {
        self.wide_room.as_ref().map_or(0, WideRoom::bytes)
    }

    /// Bytes of all weights in device memory, including the slots for streamed weights, but without the
    /// [buffer](Self::wide_room_bytes) into which weights are widened.
    pub fn weight_bytes(&self) -> u64 {
        let embedding = match &self.embedding {
            Embedding::Apart(matrix) => matrix.bytes(),
            Embedding::InOutput | Embedding::OnHost(_) => 0,
        };
        embedding
            + self.output.iter().map(DeviceMatrix::bytes).sum::<u64>()
            + self.norm.size()
            + self.plan.as_ref().map_or(0, |plan| plan.ring)
            + self.layers.iter().map(LayerWeights::bytes).sum::<u64>()
    }
}

/// The configuration of files that can be run.
fn runnable_config(files: &ModelFiles) -> Result<ModelConfig, ModelError> {
    require_runnable(files)?;
    ModelConfig::of_files(files)
}
