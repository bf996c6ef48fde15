//! Computes one sequence.

use std::sync::Arc;

use futures::channel::oneshot;

use crate::archive::ArchiveError;
use crate::gpu::kernels::argmax::Largest;
use crate::gpu::kernels::matvec::Product;
use crate::gpu::kernels::norm::NormParams;
use crate::gpu::kernels::top::Top;
use crate::gpu::kernels::{Step, argmax, embed, norm, top};
use crate::gpu::{Batch, Buffer, CacheType, Dispatch, Gpu, GpuError, KvCache, Pace, Readback, Sweep};
use crate::model::compute::activations::{ACTIVATIONS, Activations};
use crate::model::compute::context;
use crate::model::compute::layer::LayerContext;
use crate::model::compute::pass::{Pass, Results};
use crate::model::compute::products::Products;
use crate::model::compute::recorded::Recorded;
use crate::model::config::model_config::ModelConfig;
use crate::model::error::ModelError;
use crate::model::shape::outputs::{BATCH, Outputs};
use crate::model::shape::session_bytes::session_bytes;
use crate::model::weights::layer_weights::LayerWeights;
use crate::model::weights::model::{Embedding, Model};
use crate::model::weights::rotations::Rotations;
use crate::stream::StreamError;

/// The results to read back from a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// The last token's logits.
    Last,
    /// The token that is most likely to follow the last one.
    Likeliest,
    /// The tokens most likely to follow the last one, down to the logit of this rank among some of them.
    Top(u32),
    /// All logits.
    All,
}

/// A sequence: its KV cache, activations and recorded dispatches. Creating it allocates all of its device
/// memory; running it allocates none.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    context: usize,
    /// The tokens at the filled positions.
    tokens: Vec<u32>,
    /// Whether the device still has the logits of the last token.
    has_last_logits: bool,
    buffers: SessionBuffers,
    readback: Readback,
    dispatches: Arc<Dispatches>,
    activations: Arc<Activations>,
    /// Reports the end of the last pass, if a thread drives passes and the end is not known yet.
    ended: Option<oneshot::Receiver<()>>,
    // Bind groups of the dispatches refer to these, so they must live as long.
    _caches: Vec<KvCache>,
    _rotations: Arc<Rotations>,
    // The last field: it frees what the others leave.
    _sweep: Sweep,
}

#[derive(Debug)]
struct SessionBuffers {
    step: Buffer,
    token_ids: Buffer,
    /// The last norm's result, for the tokens that get logits.
    output: Buffer,
    logits: Arc<Buffer>,
    /// The largest logit of each span.
    largest: Arc<Buffer>,
    /// The likeliest tokens.
    top: Arc<Buffer>,
}

/// The recorded dispatches of a session.
#[derive(Debug)]
struct Dispatches {
    /// All dispatches up to the last layer.
    layers: Recorded,
    last_output: Vec<Dispatch>,
    /// Finds the likeliest token in the last token's logits.
    argmax: Dispatch,
    /// Finds the likeliest tokens.
    top: Dispatch,
    all_outputs: Recorded,
}

impl Dispatches {
    /// The dispatches of a batch, in order: those of the layers, those of the output matrix if logits are
    /// wanted, and the one that finds the likeliest tokens.
    fn of(&self, batch: Batch, wanted: Wanted) -> Vec<&Dispatch> {
        let layers = self.layers.of(batch.tokens as usize);
        let output = match batch.outputs {
            0 => &[][..],
            1 => &self.last_output,
            outputs => self.all_outputs.of(outputs as usize),
        };
        let reduce = match wanted {
            Wanted::Likeliest => Some(&self.argmax),
            Wanted::Top(_) => Some(&self.top),
            _ => None,
        };
        layers.iter().chain(output).chain(reduce).collect()
    }
}

impl Session {
    /// A session with space for `context` positions. `outputs` limits what it can compute: [`Outputs::All`]
    /// needs space for the logits of a whole batch.
    pub fn new(model: &Arc<Model>, context: usize, outputs: Outputs) -> Result<Self, ModelError> {
        Self::with_cache(model, context, outputs, CacheType::default())
    }

    /// [`Session::new`] with a KV cache of that element type.
    pub fn with_cache(
        model: &Arc<Model>,
        context: usize,
        outputs: Outputs,
        cache_type: CacheType,
    ) -> Result<Self, ModelError> {
        Self::open_while(model, context, outputs, cache_type, &|| Ok(()))
    }

    /// [`Session::with_cache`], which calls `go_on` before each longer step and returns its error. A kernel
    /// that is needed for the first time is compiled, which takes long on some drivers.
    pub(crate) fn open_while(
        model: &Arc<Model>,
        context: usize,
        outputs: Outputs,
        cache_type: CacheType,
        go_on: &dyn Fn() -> Result<(), ArchiveError>,
    ) -> Result<Self, ModelError> {
        let (gpu, config) = (&model.gpu, &model.config);
        let context = context.max(1);
        Self::check_context(gpu, config, context, cache_type)?;
        let has_up = model.layers.iter().any(LayerWeights::has_up);
        // First, so that the memory used to upload the table is free again before anything else is allocated.
        let rotations = Rotations::shared(gpu, config, context, &model.rotations, go_on)?;
        let activations = Arc::new(Activations::new(gpu, config, BATCH, has_up, model.adapter_stride)?);
        let buffers = SessionBuffers::new(model, &activations, outputs)?;
        let readback = Readback::new(gpu, buffers.logits.size().max(top::FOUND_BYTES))?;
        let cache_len = 2 * config.kv_heads * context * config.head_dim;
        let cache = |_| {
            go_on()?;
            Ok::<_, ModelError>(KvCache::new(gpu, cache_type, cache_len)?)
        };
        let caches: Vec<KvCache> = (0..config.layers).map(cache).collect::<Result<_, _>>()?;

        let layers = LayerContext {
            gpu,
            config,
            step: &buffers.step,
            activations: &activations,
            rotations: &rotations.buffer,
            context,
            go_on,
        };
        let record = |products: Products<'_>| -> Result<Vec<Dispatch>, ModelError> {
            let mut all = record_embedding(model, &activations, &buffers)?;
            for (i, (weights, cache)) in model.layers.iter().zip(&caches).enumerate() {
                all.extend(layers.dispatches(i, weights, cache, products)?);
            }
            Ok(all)
        };
        let recorded = Recorded::new(model, BATCH, record)?;
        go_on()?;
        let last_output = record_output(model, &activations, &buffers, Products::Single)?;
        go_on()?;
        let argmax = argmax::dispatch(gpu, config.vocab, [&buffers.logits, &buffers.largest])?;
        let top = top::dispatch(gpu, &buffers.step, config.vocab, [&buffers.logits, &buffers.top])?;
        let all_outputs = match outputs {
            Outputs::Last => Recorded::default(),
            Outputs::All => Recorded::batches(model, BATCH, |products| {
                go_on()?;
                Ok(record_output(model, &activations, &buffers, products)?)
            })?,
        };
        Ok(Self {
            model: model.clone(),
            context,
            tokens: Vec::new(),
            has_last_logits: false,
            buffers,
            readback,
            dispatches: Arc::new(Dispatches { layers: recorded, last_output, argmax, top, all_outputs }),
            activations,
            ended: None,
            _caches: caches,
            _rotations: rotations,
            _sweep: Sweep::new(gpu),
        })
    }

    /// Maximum context length, in positions, of a session of a model on `gpu`, whatever its memory. It is
    /// known before the model is loaded.
    pub fn most_context(gpu: &Gpu, config: &ModelConfig, cache_type: CacheType) -> usize {
        context::most_context(gpu, config, cache_type).0
    }

    /// Returns an error if `context` is longer than [`Session::most_context`]; the error says what the limit is.
    pub fn check_context(
        gpu: &Gpu,
        config: &ModelConfig,
        context: usize,
        cache_type: CacheType,
    ) -> Result<(), ModelError> {
        context::check(gpu, config, context, cache_type)
    }

    /// An upper estimate of the device memory that a session of a model takes, in bytes.
    pub fn device_bytes(config: &ModelConfig, context: usize, outputs: Outputs) -> u64 {
        session_bytes(config, context, outputs)
    }

    /// The model that this session computes with.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Positions filled so far.
    pub fn position(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens at the filled positions.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The number of tokens at the start of `text` that need not be computed again, because the session has
    /// the same ones at the same positions. The last token of `text` never counts, because its logits are not
    /// kept.
    pub fn reusable(&self, text: &[u32]) -> usize {
        let same = self.tokens.iter().zip(text).take_while(|(a, b)| a == b).count();
        same.min(text.len().saturating_sub(1))
    }

    /// Positions that fit this session.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The number of dispatches to compute one token and to find the likeliest next one.
    pub fn dispatches_a_token(&self) -> usize {
        self.dispatches.layers.of(1).len() + self.dispatches.last_output.len() + 1
    }

    /// Forgets all but the first `position` positions.
    pub fn rewind(&mut self, position: usize) {
        self.has_last_logits &= position >= self.tokens.len();
        self.tokens.truncate(position);
    }

    /// Appends `tokens` and returns logits: `vocab` numbers for the last token, or for each token in order.
    /// It returns an error if a logit is not finite.
    ///
    /// If this fails, or is dropped before it is done, the session is as it was before.
    pub async fn forward(&mut self, tokens: &[u32], outputs: Outputs) -> Result<Vec<f32>, ModelError> {
        if outputs == Outputs::All && self.dispatches.all_outputs.is_empty() {
            return Err(ModelError::LastOutputsOnly);
        }
        let mut logits = Vec::new();
        let wanted = match outputs {
            Outputs::All => Wanted::All,
            Outputs::Last => Wanted::Last,
        };
        let vocab = self.model.config.vocab;
        let take = |bytes: &[u8]| {
            let numbers: &[f32] = bytemuck::cast_slice(bytes);
            logits.extend_from_slice(numbers);
            all_finite(numbers, vocab)
        };
        self.append(tokens, wanted, take).await?;
        Ok(logits)
    }

    /// Appends `tokens` and returns the token that is likeliest to follow; of equally likely tokens, the one
    /// with the lowest id. It returns an error if a logit is not finite.
    ///
    /// If this fails, or is dropped before it is done, the session is as it was before.
    pub async fn likeliest(&mut self, tokens: &[u32]) -> Result<u32, ModelError> {
        let mut likeliest = 0;
        let take = |bytes: &[u8]| {
            likeliest = argmax::likeliest(bytemuck::cast_slice::<_, Largest>(bytes)).ok_or(0usize)?;
            Ok(())
        };
        self.append(tokens, Wanted::Likeliest, take).await?;
        Ok(likeliest)
    }

    /// Appends `tokens` and returns the logits of the tokens that are likeliest to follow: usually more than
    /// `count` of them, and always all that are as likely as the least likely of them. Returns `None` if
    /// these are more than a thousand, because of equal logits, or if a logit is not finite; then use
    /// [`Session::last_logits`], which returns all logits, or the error.
    ///
    /// If this fails, or is dropped before it is done, the session is as it was before.
    pub async fn top(&mut self, tokens: &[u32], count: usize) -> Result<Option<Top>, ModelError> {
        let mut found = None;
        let take = |bytes: &[u8]| {
            found = top::read(bytes);
            Ok(())
        };
        self.append(tokens, Wanted::Top(top::rank_for(count)), take).await?;
        Ok(found)
    }

    /// All logits of the last appended token, after [`Session::likeliest`] or [`Session::top`] returned only
    /// some of them. It returns an error if a logit is not finite.
    pub async fn last_logits(&mut self) -> Result<Vec<f32>, ModelError> {
        if !self.has_last_logits {
            return Err(ModelError::NoTokens);
        }
        let (gpu, readback) = (&self.model.gpu, &mut self.readback);
        let len = (self.model.config.vocab * 4) as u64;
        readback.ready(gpu).await?;
        gpu.submit("logits", |encoder| readback.record(encoder, &self.buffers.logits, len))?;
        let logits: Vec<f32> = readback.read(gpu, len, |bytes| bytemuck::cast_slice(bytes).to_vec()).await?;
        match all_finite(&logits, logits.len()) {
            Ok(()) => Ok(logits),
            Err(_) => Err(not_finite(&self.tokens, 0, self.tokens.len() - 1)),
        }
    }

    /// Appends `tokens`, batch by batch, and passes the wanted results of each batch to `take`. An error of
    /// `take` is the index of a token, among those whose logits it received, that has a logit that is not
    /// finite.
    async fn append(
        &mut self,
        tokens: &[u32],
        wanted: Wanted,
        mut take: impl FnMut(&[u8]) -> Result<(), usize>,
    ) -> Result<(), ModelError> {
        self.check(tokens)?;
        self.has_last_logits = false;
        // A pass whose future was dropped may still use the session's buffers.
        if let Some(ended) = &mut self.ended {
            let _ = ended.await;
            self.ended = None;
        }
        self.readback.ready(&self.model.gpu).await?;
        let (mut position, mut pace) = (self.tokens.len(), Pace::default());
        for (i, chunk) in tokens.chunks(BATCH).enumerate() {
            let is_last = (i + 1) * BATCH >= tokens.len();
            let wanted = if is_last || wanted == Wanted::All { wanted } else { Wanted::Nothing };
            let len = self.submit(chunk, position, wanted, &mut pace).await?;
            if len > 0 {
                let taken = self.readback.read(&self.model.gpu, len, &mut take).await?;
                let first = if wanted == Wanted::All { 0 } else { chunk.len() - 1 };
                taken.map_err(|place| not_finite(chunk, position, first + place))?;
            }
            position += chunk.len();
        }
        self.tokens.extend_from_slice(tokens);
        self.has_last_logits = matches!(wanted, Wanted::Last | Wanted::Likeliest | Wanted::Top(_));
        Ok(())
    }

    fn check(&self, tokens: &[u32]) -> Result<(), ModelError> {
        let vocab = self.model.config.vocab;
        if tokens.is_empty() {
            return Err(ModelError::NoTokens);
        }
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(ModelError::NoSuchToken { token, vocab });
        }
        let needed = self.tokens.len() + tokens.len();
        if needed > self.context {
            return Err(ModelError::ContextFull { needed, context: self.context });
        }
        Ok(())
    }

    /// Computes one batch, and returns the number of bytes to read back.
    async fn submit(
        &mut self,
        tokens: &[u32],
        position: usize,
        wanted: Wanted,
        pace: &mut Pace,
    ) -> Result<u64, ModelError> {
        let gpu = &self.model.gpu;
        let outputs = match wanted {
            Wanted::Nothing => 0,
            Wanted::Last | Wanted::Likeliest | Wanted::Top(_) => 1,
            Wanted::All => tokens.len(),
        };
        let step = Step {
            tokens: tokens.len() as u32,
            position: position as u32,
            first_output: (tokens.len() - outputs) as u32,
            rank: if let Wanted::Top(rank) = wanted { rank } else { 0 },
        };
        gpu.write(&self.buffers.step, bytemuck::bytes_of(&step))?;
        gpu.write(&self.buffers.token_ids, bytemuck::cast_slice(tokens))?;
        let results = self.results(wanted, outputs);
        let len = results.len;
        let batch = Batch { tokens: step.tokens, outputs: outputs as u32 };
        let positions = step.position + step.tokens;
        let Some(passes) = &self.model.passes else {
            let dispatches = self.dispatches.of(batch, wanted);
            Pass { gpu, batch, positions, dispatches, results }.submit(None, pace).await?;
            return Ok(len);
        };
        let (gpu, dispatches, mut theirs) = (gpu.clone(), self.dispatches.clone(), std::mem::take(pace));
        let (ring, activations, tokens) =
            (self.model.ring.clone(), self.activations.clone(), tokens.to_vec());
        let rows = match &self.model.embedding {
            Embedding::OnHost(rows) => Some(rows.clone()),
            Embedding::InOutput | Embedding::Apart(_) => None,
        };
        let begun = passes.begin(async move {
            if let Some(rows) = rows {
                rows.bring(&tokens, &activations.x).await?;
            }
            let pass =
                Pass { gpu: &gpu, batch, positions, dispatches: dispatches.of(batch, wanted), results };
            pass.submit(ring.as_deref(), &mut theirs).await?;
            Ok::<Pace, ModelError>(theirs)
        });
        self.ended = Some(begun.ended);
        *pace = begun.result.await.unwrap_or(Err(StreamError::Stopped))??;
        Ok(len)
    }

    /// The results to copy for a batch in which `outputs` tokens have logits.
    fn results(&self, wanted: Wanted, outputs: usize) -> Results {
        let buffers = &self.buffers;
        let (from, len) = match wanted {
            Wanted::Likeliest => (&buffers.largest, buffers.largest.size()),
            Wanted::Top(_) => (&buffers.top, buffers.top.size()),
            _ => (&buffers.logits, (outputs * self.model.config.vocab * 4) as u64),
        };
        Results { from: from.clone(), len, to: self.readback.target().clone() }
    }
}

/// Checks that all logits, `vocab` for each token, are finite. An error is the index of the first token with
/// other logits.
fn all_finite(logits: &[f32], vocab: usize) -> Result<(), usize> {
    match logits.iter().position(|logit| !logit.is_finite()) {
        None => Ok(()),
        Some(at) => Err(at / vocab.max(1)),
    }
}

/// The error for `tokens[place]`, whose logits are not all finite. The first of `tokens` is at `position`.
fn not_finite(tokens: &[u32], position: usize, place: usize) -> ModelError {
    ModelError::NotFinite { token: tokens[place], position: position + place }
}

impl SessionBuffers {
    fn new(model: &Model, activations: &Activations, outputs: Outputs) -> Result<Self, GpuError> {
        let (gpu, config) = (&model.gpu, &model.config);
        let tokens = if outputs == Outputs::All { BATCH } else { 1 };
        let logits_len = (tokens * config.vocab * 4) as u64;
        let upload = wgpu::BufferUsages::COPY_DST;
        let storage = wgpu::BufferUsages::STORAGE;
        let result =
            |label, size| gpu.buffer(label, size, storage | wgpu::BufferUsages::COPY_SRC).map(Arc::new);
        Ok(Self {
            step: gpu.buffer("step", size_of::<Step>() as u64, upload | wgpu::BufferUsages::UNIFORM)?,
            token_ids: gpu.buffer("token ids", (BATCH * 4) as u64, upload | storage)?,
            output: gpu.buffer("output", (tokens * activations.strides.hidden * 4) as u64, ACTIVATIONS)?,
            logits: result("logits", logits_len)?,
            largest: result("largest logits", argmax::found_bytes(config.vocab))?,
            top: result("likeliest tokens", top::FOUND_BYTES)?,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Waits for an unfinished pass, which nobody else waits for and which stops early. After that, it no
        // longer uses anything of the session.
        if let Some(ended) = self.ended.take() {
            let _ = pollster::block_on(ended);
        }
    }
}

/// The look-up of the tokens' embedding; empty if the host does it.
fn record_embedding(
    model: &Model,
    activations: &Activations,
    buffers: &SessionBuffers,
) -> Result<Vec<Dispatch>, GpuError> {
    let matrix = match &model.embedding {
        Embedding::InOutput => model.output.first(),
        Embedding::Apart(matrix) => Some(&**matrix),
        Embedding::OnHost(_) => None,
    };
    let Some(matrix) = matrix else { return Ok(Vec::new()) };
    let (step, ids, stride) = (&buffers.step, &buffers.token_ids, activations.strides.hidden);
    embed::dispatches(&model.gpu, step, matrix, ids, &activations.x, stride)
}

/// The last norm and the product with the output matrix.
fn record_output(
    model: &Model,
    activations: &Activations,
    buffers: &SessionBuffers,
    products: Products<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let (gpu, config) = (&model.gpu, &model.config);
    let stride = activations.strides.hidden;
    let params = NormParams {
        len: config.hidden as u32,
        x_stride: stride as u32,
        y_stride: stride as u32,
        epsilon: config.norm_epsilon,
    };
    let with = [&activations.x, &model.norm, &buffers.output];
    let mut all = vec![norm::dispatch(gpu, &buffers.step, &params, true, with)?];
    for weights in &model.output {
        let product = Product {
            weights,
            x: &buffers.output,
            x_stride: stride,
            y: &buffers.logits,
            y_stride: config.vocab,
            bias: None,
            accumulate: false,
        };
        all.extend(products.dispatches(gpu, &buffers.step, &product)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;
    use crate::archive::ModelFiles;
    use crate::gpu::GpuOptions;
    use crate::model::LoadOptions;

    #[test]
    fn opening_ends_wherever_it_is_stopped_and_gives_its_memory_back() {
        let device = std::env::var("BANTAM_DEVICE").ok();
        let options = GpuOptions { device, ..GpuOptions::default() };
        let gpu = pollster::block_on(Gpu::open(&options)).expect("tests need an adapter");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
        let files = ModelFiles::open(&folder).unwrap();
        let options = LoadOptions::default();
        let model = Arc::new(pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap());
        let before = gpu.memory().used();

        // Stops it before it has created anything, then later and later.
        let mut stops = 0;
        loop {
            let asked = Cell::new(0);
            let go_on = || match asked.replace(asked.get() + 1) {
                n if n < 3 * stops => Ok(()),
                _ => Err(ArchiveError::Cancelled),
            };
            match Session::open_while(&model, 600, Outputs::All, CacheType::F32, &go_on) {
                Err(error) => {
                    assert!(matches!(error, ModelError::Archive(ArchiveError::Cancelled)), "{error}")
                }
                Ok(_) => break,
            }
            assert_eq!(asked.get(), 3 * stops + 1, "it did something after it was stopped");
            assert_eq!(gpu.memory().used(), before);
            stops += 1;
        }
        // Stops happened at the rotations, the caches, and the dispatches of every layer.
        assert!(stops > model.config.layers, "{stops}");
    }
}
