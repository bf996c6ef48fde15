//! From a model's files to weights in device memory.

use std::sync::Arc;

use super::config::ModelConfig;
use super::error::ModelError;
use super::layer::{LayerWeights, ProductShape};
use super::needs::Census;
use crate::archive::{ArchiveError, ModelFiles, Progress, Stored, Weight};
use crate::codec::{Payload, Precision};
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Buffer, Gpu, GpuError, Sweep, Uploader};
use crate::stream::{Plan, Ring, StreamStats, StreamedLayer};
use crate::tensor::{Dtype, FileReader, Matrix};

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Uncompress weights and compute from them as they were: what compressed runs are compared with.
    pub raw: bool,
    /// How compressed weights are kept in device memory.
    pub layout: Layout,
    /// How much of compressed weights is read. What is not is neither read from the file nor uploaded.
    pub precision: Precision,
    /// The most bytes of device memory that this model's buffers may take together, those of its sessions
    /// among them: buffers beyond it are refused. Where the device has a budget too, the model has what is
    /// left of that at the most. Layers that do not fit are streamed from their file, which must
    /// stay as it is while the model is in use. Only compressed layers can be streamed.
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
    pub(super) embedding: Arc<DeviceMatrix>,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) norm: Buffer,
    pub(super) head: Arc<DeviceMatrix>,
    pub(super) plan: Option<Plan>,
    /// Where streamed layers are.
    pub(super) ring: Option<Ring>,
    // Last: it frees what the others leave.
    _sweep: Sweep,
}

/// A product's matrix and bias.
#[derive(Debug)]
pub(super) struct Linear {
    pub weights: DeviceMatrix,
    pub bias: Option<Buffer>,
}

impl Model {
    /// Uploads the weights of `files`, compressed where they are stored so. Checksums are compared
    /// on the way. Progress counts original bytes.
    ///
    /// Waiting for the device is asynchronous, but reading, checking and laying out a tensor is
    /// work on the CPU between two such waits: call this where a task may compute.
    pub async fn load(
        gpu: &Gpu,
        files: &ModelFiles,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Self, ModelError> {
        let config = ModelConfig::open(files.folder())?;
        let gpu = &gpu.with_share(options.device_budget);
        let Planned { plan, fast, staging } = Planned::promised(gpu, files, &config, options)?;
        let uploader = Uploader::within(gpu, staging)?;
        let mut loader = Loader { gpu, files, options, fast, uploader, progress, streaming: None };
        let total = files.weights().map(|w| w.original_len as u64).fold(0, u64::saturating_add);
        progress.begin(total, "loading");
        let model = loader.model(config, plan).await;
        progress.finish();
        model
    }

    /// How a model would be kept in device memory, without loading it; `None` where memory is
    /// [not limited](LoadOptions::device_budget). An error where there is too little, which names the
    /// least that would do.
    pub fn plan(gpu: &Gpu, files: &ModelFiles, options: &LoadOptions) -> Result<Option<Plan>, ModelError> {
        let config = ModelConfig::open(files.folder())?;
        Ok(Planned::new(&gpu.with_share(options.device_budget), files, &config, options)?.plan)
    }

    /// How this model is kept in device memory, if that was planned for a budget.
    pub fn residency(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The layers that are streamed.
    pub(super) fn streamed(&self) -> &[usize] {
        self.plan.as_ref().map_or(&[], |plan| &plan.streamed)
    }

    /// What streaming has cost since the model was loaded: nothing where no layer is streamed.
    pub fn stream_stats(&self) -> StreamStats {
        self.ring.as_ref().map(Ring::stats).unwrap_or_default()
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device that the weights are on; what it counts is the memory of this model and its sessions.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Bytes of all weights in device memory, with the slots that layers are streamed through.
    pub fn weight_bytes(&self) -> u64 {
        let head = if Arc::ptr_eq(&self.head, &self.embedding) { 0 } else { self.head.bytes() };
        self.embedding.bytes()
            + head
            + self.norm.size()
            + self.ring.as_ref().map_or(0, Ring::bytes)
            + self.layers.iter().map(LayerWeights::bytes).sum::<u64>()
    }
}

impl Linear {
    pub fn bytes(&self) -> u64 {
        self.weights.bytes() + self.bias.as_ref().map_or(0, Buffer::size)
    }
}

/// How a model is to be loaded.
struct Planned {
    /// `None` where memory is not limited, and so all stays.
    plan: Option<Plan>,
    /// Whether what stays is transcoded to the fast layout, where it can be.
    fast: bool,
    /// Bytes of staging buffers there is room for.
    staging: u64,
}

impl Planned {
    /// A plan for the share `gpu`, for which the memory is set aside.
    fn promised(
        gpu: &Gpu,
        files: &ModelFiles,
        config: &ModelConfig,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        loop {
            let planned = Self::new(gpu, files, config, options)?;
            // Another model may have been loaded meanwhile, which leaves less.
            if planned.plan.as_ref().is_none_or(|plan| gpu.memory().promise(plan.total)) {
                return Ok(planned);
            }
        }
    }

    fn new(
        gpu: &Gpu,
        files: &ModelFiles,
        config: &ModelConfig,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        let layout = match options.layout {
            _ if options.raw => Layout::Dense,
            Layout::Auto if !gpu.choices().fast_is_faster => Layout::Dense,
            layout => layout,
        };
        let Some(budget) = gpu.memory().left() else {
            return Ok(Self { plan: None, fast: layout != Layout::Dense, staging: u64::MAX });
        };
        let with = |fast| Self::within(gpu, files, config, options, budget, fast);
        match layout {
            Layout::Dense => with(false),
            Layout::Fast => with(true),
            // Reading dense tiles takes a processor longer than bringing a layer, so there, fast layers
            // are worth the room that they take from others. Elsewhere it is the bytes that count.
            Layout::Auto => {
                let dense = with(false)?;
                match with(true) {
                    Ok(fast) if gpu.is_cpu() || fast.plan.as_ref().is_none_or(Plan::is_resident) => {
                        Ok(fast.with_minimum_of(&dense))
                    }
                    Ok(_) | Err(ModelError::Stream(_)) => Ok(dense),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// The same plan, where another one needs less.
    fn with_minimum_of(mut self, other: &Self) -> Self {
        if let (Some(plan), Some(other)) = (&mut self.plan, &other.plan) {
            plan.minimum = plan.minimum.min(other.minimum);
        }
        self
    }

    fn within(
        gpu: &Gpu,
        files: &ModelFiles,
        config: &ModelConfig,
        options: &LoadOptions,
        budget: u64,
        fast: bool,
    ) -> Result<Self, ModelError> {
        let usual = || {
            let context = config.max_positions.min(USUAL_CONTEXT);
            super::Session::device_bytes(config, context, super::Outputs::Last)
        };
        let working_set = options.working_set.unwrap_or_else(usual);
        let needs = Census { gpu, files, config, precision: options.precision, raw: options.raw, fast }
            .needs(working_set)?;
        let plan = Plan::new(&needs, Some(budget))?;
        // Sessions come later: until then, what is left to them is for loading.
        let staging = plan.working_set - (needs.loading - Uploader::LEAST);
        Ok(Self { plan: Some(plan), fast, staging })
    }
}

/// What a streamed layer is loaded into.
struct Streaming {
    slot: Arc<Buffer>,
    /// Bytes of the slot that are taken.
    taken: u64,
    layer: StreamedLayer,
}

impl Streaming {
    /// Makes room for a matrix, whose payload begins at byte `at` of `file`.
    fn add(
        &mut self,
        gpu: &Gpu,
        label: &str,
        payload: &Payload<'_>,
        file: &FileReader,
        at: u64,
    ) -> Result<Option<DeviceMatrix>, GpuError> {
        let Some((matrix, pieces)) = DeviceMatrix::in_slot(gpu, label, payload, &self.slot, self.taken)?
        else {
            return Ok(None);
        };
        self.layer.add(file, at, &pieces);
        let end = pieces.iter().map(|piece| piece.at + piece.payload.len() as u64).max();
        self.taken = end.unwrap_or(self.taken).next_multiple_of(256);
        Ok(Some(matrix))
    }
}

/// Reads tensors by name and uploads them.
pub(super) struct Loader<'a> {
    gpu: &'a Gpu,
    files: &'a ModelFiles,
    options: &'a LoadOptions,
    fast: bool,
    uploader: Uploader,
    progress: &'a dyn Progress,
    /// Where the layer that is loaded goes, if it does not stay.
    streaming: Option<Streaming>,
}

impl<'a> Loader<'a> {
    async fn model(&mut self, config: ModelConfig, plan: Option<Plan>) -> Result<Model, ModelError> {
        let embedding =
            Arc::new(self.matrix("model.embed_tokens.weight", config.vocab, config.hidden).await?);
        let head = if config.tied {
            embedding.clone()
        } else {
            Arc::new(self.matrix("lm_head.weight", config.vocab, config.hidden).await?)
        };
        let norm = self.vector("model.norm.weight", config.hidden)?;
        // Layers last: transcoding the largest matrices takes the room that is left to them.
        let (layers, ring) = self.layers(&config, plan.as_ref()).await?;
        let (gpu, sweep) = (self.gpu.clone(), Sweep::new(self.gpu));
        Ok(Model { gpu, config, embedding, layers, norm, head, plan, ring, _sweep: sweep })
    }

    /// All layers, and the ring of those that are streamed.
    async fn layers(
        &mut self,
        config: &ModelConfig,
        plan: Option<&Plan>,
    ) -> Result<(Vec<LayerWeights>, Option<Ring>), ModelError> {
        let mut layers = Vec::with_capacity(config.layers);
        let mut streamed = Vec::new();
        let mut ring = match plan {
            Some(plan) if !plan.is_resident() => Some(Ring::new(self.gpu, plan.slots, plan.slot_bytes)?),
            _ => None,
        };
        let chosen = plan.map_or(&[][..], |plan| &plan.streamed);
        for layer in 0..config.layers {
            if let Some(ring) = ring.as_ref().filter(|_| chosen.get(streamed.len()) == Some(&layer)) {
                let slot = ring.slot_of(streamed.len()).clone();
                self.streaming = Some(Streaming { slot, taken: 0, layer: StreamedLayer::default() });
            }
            layers.push(LayerWeights::load(self, config, layer).await?);
            streamed.extend(self.streaming.take().map(|streaming| streaming.layer));
        }
        if let Some(ring) = &mut ring {
            ring.set_layers(streamed);
        }
        Ok((layers, ring))
    }

    /// A product's matrix, and its bias where it has one.
    pub async fn linear(&mut self, name: &str, shape: &ProductShape) -> Result<Linear, ModelError> {
        let weights = self.matrix(&format!("{name}.weight"), shape.rows, shape.cols).await?;
        let bias = if shape.bias { Some(self.vector(&format!("{name}.bias"), shape.rows)?) } else { None };
        Ok(Linear { weights, bias })
    }

    /// A matrix in the form that it is stored in, or raw where that is asked for.
    async fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<DeviceMatrix, ModelError> {
        let weight = self.require(name, &[rows, cols])?;
        let uploaded = self.upload_tiled(&weight).await?;
        let uploaded = match uploaded {
            Some(matrix) => Some(matrix),
            None => {
                let bytes = weight.bytes()?;
                let matrix = Matrix { rows, cols };
                DeviceMatrix::upload_raw(self.gpu, &mut self.uploader, name, weight.dtype, matrix, &bytes)
                    .await?
            }
        };
        self.progress.advance(weight.original_len as u64);
        uploaded.ok_or_else(|| wrong_type(&weight))
    }

    async fn upload_tiled(&mut self, weight: &Weight<'_>) -> Result<Option<DeviceMatrix>, ModelError> {
        if self.options.raw {
            return Ok(None);
        }
        let Stored::Compressed(payload) = weight.stored()? else { return Ok(None) };
        let payload = payload.at(self.options.precision);
        payload.check().map_err(|e| ArchiveError::tensor(weight.source().path(), weight.name)(e))?;
        if let (Some(streaming), Some((file, at))) = (&mut self.streaming, weight.payload_place()) {
            return Ok(streaming.add(self.gpu, weight.name, &payload, &file, at)?);
        }
        let uploader = &mut self.uploader;
        Ok(match self.fast {
            true => DeviceMatrix::upload_fast(self.gpu, uploader, weight.name, &payload).await?,
            false => DeviceMatrix::upload_tiled(self.gpu, uploader, weight.name, &payload).await?,
        })
    }

    /// A vector (a norm's weight, a bias), widened to F32.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Buffer, ModelError> {
        let weight = self.require(name, &[len])?;
        let bytes = weight.bytes()?;
        let values = widen(weight.dtype, &bytes).ok_or_else(|| wrong_type(&weight))?;
        self.progress.advance(weight.original_len as u64);
        Ok(self.gpu.buffer_with(name, bytemuck::cast_slice(&values), wgpu::BufferUsages::STORAGE)?)
    }

    fn require(&self, name: &str, shape: &[usize]) -> Result<Weight<'a>, ModelError> {
        if self.progress.cancelled() {
            return Err(ArchiveError::Cancelled.into());
        }
        require(self.files, name, shape)
    }
}

/// The tensor called `name`, which must have that shape.
pub(super) fn require<'a>(
    files: &'a ModelFiles,
    name: &str,
    shape: &[usize],
) -> Result<Weight<'a>, ModelError> {
    let weight = files.require(name)?;
    if weight.shape != shape {
        return Err(ModelError::WrongTensor {
            tensor: name.into(),
            expected: format!("shape {shape:?}"),
            found: format!("shape {:?}", weight.shape),
        });
    }
    Ok(weight)
}

fn wrong_type(weight: &Weight<'_>) -> ModelError {
    ModelError::WrongTensor {
        tensor: weight.name.into(),
        expected: "BF16, F16 or F32".into(),
        found: weight.dtype.to_string(),
    }
}

/// Elements of a floating-point type as F32, without loss.
fn widen(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let words = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match dtype {
        Dtype::BF16 => Some(words().map(|w| half::bf16::from_bits(w).to_f32()).collect()),
        Dtype::F16 => Some(words().map(|w| half::f16::from_bits(w).to_f32()).collect()),
        Dtype::F32 => {
            Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        _ => None,
    }
}
