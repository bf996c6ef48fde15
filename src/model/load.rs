//! A model's weights in device memory, and how they are to be kept there.

use std::sync::{Arc, Mutex, Weak};

use super::config::ModelConfig;
use super::error::ModelError;
use super::layer::LayerWeights;
use super::loader::Loader;
use super::planned::Planned;
use super::precisions::Precisions;
use super::reading::Reading;
use super::rope::Rotations;
use super::runnable::require_runnable;
use crate::archive::{ModelFiles, Progress};
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Buffer, Gpu, Sweep, Uploader, WideRoom};
use crate::stream::{Passes, Plan, Ring, StreamStats, TokenRows};

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Uncompress weights and compute from them as they were: what compressed runs are compared with.
    pub raw: bool,
    /// How compressed weights are kept in device memory.
    pub layout: Layout,
    /// How much of compressed weights is read. What is not is neither read from the file nor uploaded.
    pub precision: Precisions,
    /// The most bytes of device memory that this model's buffers may take together, those of its sessions
    /// among them: buffers beyond it are refused. Where the device has a budget too, the model has what is
    /// left of that at the most. Weights that do not fit are streamed from their file, which must
    /// stay as it is while the model is in use. Only compressed weights can be streamed.
    ///
    /// Where neither is limited, all weights stay in device memory.
    pub device_budget: Option<u64>,
    /// Bytes of the budget that are left to sessions: what [`Session::device_bytes`] says of each that is
    /// to be there at the same time. By default one session of 1024 positions, or as many as the model
    /// was made for, that gives the last token's logits.
    ///
    /// [`Session::device_bytes`]: super::Session::device_bytes
    pub working_set: Option<u64>,
}

/// Positions of the session that room is left for where nothing else is said.
pub const USUAL_CONTEXT: usize = 1024;

/// How compressed weights are kept in device memory. Results are the same bits from each.
///
/// What is streamed is in dense tiles in any case, but where a processor stands in for a device: there it is decoded on
/// its way, as far as there is room for uncompressed weights, unless dense tiles are what is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// As in files, the smallest: about 10.6 bits a BF16.
    Dense,
    /// BF16 in about 12 bits that are read faster than dense tiles; other types as [`Layout::Dense`].
    Fast,
    /// Fast where the device's [choices](crate::gpu::KernelChoices) say that it is faster, and where all of
    /// it fits (on a processor that stands in for a device, also where it does not); else dense.
    #[default]
    Auto,
}

/// A model's weights on a device.
#[derive(Debug)]
pub struct Model {
    pub(super) gpu: Gpu,
    pub(super) config: ModelConfig,
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) norm: Buffer,
    /// The output matrix: all of it, or its rows part by part.
    pub(super) output: Vec<DeviceMatrix>,
    pub(super) plan: Option<Plan>,
    pub(super) precisions: Precisions,
    /// What weights are widened into for batches, where there is room for it.
    pub(super) wide_room: Option<WideRoom>,
    /// The rotations that living sessions share.
    pub(super) rotations: Mutex<Weak<Rotations>>,
    /// What drives passes where sessions share a ring, or what brings rows of the embedding. Before these, so that
    /// its thread has let go of them.
    pub(super) passes: Option<Passes>,
    /// Where streamed weights are.
    pub(super) ring: Option<Arc<Ring>>,
    // Last: it frees what the others leave.
    pub(super) _sweep: Sweep,
}

/// Where rows of the embedding are found.
#[derive(Debug)]
pub(super) enum Embedding {
    /// In the output matrix, which is in one piece then.
    InOutput,
    /// In a matrix of its own.
    Apart(Box<DeviceMatrix>),
    /// In their file.
    OnHost(Arc<TokenRows>),
}

impl Model {
    /// Uploads the weights of `files`, compressed where they are stored so. Checksums are compared
    /// on the way. Progress counts original bytes.
    ///
    /// Files are read and checked on a thread of its own, and the device is waited for asynchronously. What is left
    /// between two waits is laying out a tensor, and compiling kernels that transcode: call this where a task may
    /// compute.
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

    /// How a model would be kept in device memory, without loading it; `None` where memory is
    /// [not limited](LoadOptions::device_budget). An error where there is too little, which names the
    /// least that would do.
    pub fn plan(gpu: &Gpu, files: &ModelFiles, options: &LoadOptions) -> Result<Option<Plan>, ModelError> {
        Ok(Self::plan_with_precisions(gpu, files, options)?.0)
    }

    /// As [`Model::plan`], with how much of each weight would be read: where it is to be
    /// [chosen](Precisions::Auto), what is chosen.
    pub fn plan_with_precisions(
        gpu: &Gpu,
        files: &ModelFiles,
        options: &LoadOptions,
    ) -> Result<(Option<Plan>, Precisions), ModelError> {
        let config = runnable_config(files)?;
        let planned = Planned::new(&gpu.with_share(options.device_budget), files, &config, options)?;
        Ok((planned.plan, planned.precisions))
    }

    /// How much of each weight was read.
    pub fn precisions(&self) -> &Precisions {
        &self.precisions
    }

    /// How this model is kept in device memory, if that was planned for a budget.
    pub fn residency(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What streaming has cost since the model was loaded: nothing where none are streamed.
    pub fn stream_stats(&self) -> StreamStats {
        self.ring.as_deref().map(Ring::stats).unwrap_or_default()
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device that the weights are on; what it counts is the memory of this model and its sessions.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Bytes of the room that weights are widened into for batches: 0 where none are.
    pub fn wide_room_bytes(&self) -> u64 {
        self.wide_room.as_ref().map_or(0, WideRoom::bytes)
    }

    /// Bytes of all weights in device memory, with the slots that others are streamed through. The
    /// [room](Self::wide_room_bytes) that they are widened into is not among them.
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
