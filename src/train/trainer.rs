//! A model that is being trained.

use std::cell::Cell;

use super::batch::Batch as TokenBatch;
use super::error::TrainError;
use super::optimizer::{MomentsDtype, Optimizer, Rounding};
use super::options::TrainOptions;
use super::plan::TrainPlan;
use super::step::{Activations, AdapterRoom, FactorRoom, Ops, Recording, Room, Runner, Sizes, StepOps, Wide};
use super::weights::{
    Loading, OptimizerState, Piece, Stored, TrainedAdapters, TrainedMatrix, TrainedModel, TrainedVector,
    grown, matrices, pieces,
};
use crate::archive::ModelFiles;
use crate::gpu::kernels::training::embed_grad::tokens_by_row;
use crate::gpu::kernels::training::encode::Needs;
use crate::gpu::kernels::training::logit_stats::{LogitStats, NO_TARGET};
use crate::gpu::kernels::training::updated::{BAD_GRADIENT, Rounded, UpdateStep};
use crate::gpu::{Batch, Buffer, Dispatch, Gpu, GpuError, Readback, download};
use crate::model::{Adapter, ModelConfig};
use crate::tensor::Matrix;

/// Most tokens of a step: their numbers are in host memory.
const MOST_STEP_TOKENS: usize = 1 << 26;

/// A model's weights on a device, and everything that a step needs there. Nothing is allocated after it is made.
#[derive(Debug)]
pub struct Trainer {
    pub(super) gpu: Gpu,
    config: ModelConfig,
    pub(super) options: TrainOptions,
    pub(super) model: TrainedModel,
    sizes: Sizes,
    adapters: Option<(TrainedAdapters, AdapterRoom)>,
    pub(super) room: Room,
    activations: Activations,
    ops: StepOps,
    /// Statistics of logits, and the status.
    readback: Readback,
    /// Steps that were made.
    steps: u64,
    /// Whether a step has begun to change weights and has not ended.
    is_torn: bool,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The step, from 1.
    pub step: u64,
    /// The mean loss of the tokens that count, in nats, before the step.
    pub loss: f64,
    /// How many tokens those are.
    pub counted: usize,
    /// The learning rate of the step.
    pub learning_rate: f32,
}

impl Trainer {
    /// Loads the weights of a model's files, and gets everything ready.
    pub async fn load(gpu: &Gpu, files: &ModelFiles, options: TrainOptions) -> Result<Self, TrainError> {
        Self::load_with(gpu, files, options, None).await
    }

    /// The same with adapters that were trained before.
    pub(super) async fn load_with(
        gpu: &Gpu,
        files: &ModelFiles,
        options: TrainOptions,
        adapter: Option<&Adapter>,
    ) -> Result<Self, TrainError> {
        let config = ModelConfig::of_files(files)?;
        require_trainable(&config, &options)?;
        let needed = TrainPlan::new(gpu, &config, &options).peak_device_bytes;
        if let Some(left) = gpu.memory().left().filter(|&left| left < needed) {
            return Err(TrainError::TooLittleMemory { needed, left });
        }
        let tokens = options.length * options.sequences;
        let state = OptimizerState::of_weights(&options);
        let TrainOptions { layout, piece_weights, .. } = options;
        let pieces = pieces(&config, piece_weights);
        let together = state.changed_together();
        let wide = layout.map(|_| Wide::new(gpu, &pieces, together)).transpose()?;
        let encoding = wide.as_ref().map(Wide::encoding);
        let count = pieces.len();
        let loading = Loading { gpu, files, config: &config, layout, piece_weights, state, pieces: count };
        let model = loading.load(encoding.as_ref()).await?;
        let sizes = Sizes::of(&config, &options);
        let adapters = options.lora.as_ref().map(|lora| {
            let adapters = TrainedAdapters::new(gpu, &config, &options, lora, adapter)?;
            Ok::<_, GpuError>((adapters, AdapterRoom::new(gpu, &config, tokens, lora.rank)?))
        });
        let adapters = adapters.transpose()?;
        let factors = match state {
            OptimizerState::Means => Some(FactorRoom::new(gpu, &matrices(&config))?),
            _ => None,
        };
        let room = Room::new(gpu, sizes.piece_weights, wide, factors)?;
        let activations = Activations::new(gpu, &config, &sizes)?;
        let results = (tokens * size_of::<LogitStats>()) as u64;
        let readback = Readback::new(gpu, results.max(Wide::needs_bytes(&pieces, together)))?;
        let gpu = gpu.clone();
        let ops = StepOps::default();
        let mut trainer = Self {
            gpu,
            config,
            options,
            model,
            sizes,
            adapters,
            room,
            activations,
            ops,
            readback,
            steps: 0,
            is_torn: false,
        };
        trainer.record()?;
        Ok(trainer)
    }

    /// Records what a step does.
    pub(super) fn record(&mut self) -> Result<(), TrainError> {
        let recording = Recording {
            gpu: &self.gpu,
            config: &self.config,
            model: &self.model,
            sizes: self.sizes,
            room: &self.room,
            activations: &self.activations,
            adapters: self.adapters.as_ref().map(|(adapters, room)| (adapters, room)),
            rounded: match self.options.update.rounding {
                Rounding::Stochastic => Rounded::Stochastic,
                Rounding::Nearest => Rounded::Nearest,
            },
            state: OptimizerState::of(&self.options.update),
            changed_to: Cell::new(0),
        };
        self.ops = recording.step()?;
        Ok(())
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Goes on as after so many steps.
    pub(super) fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// A hash of all weights that were loaded. Those of a model that adapters are trained for are still the same.
    pub fn loaded_blake3(&self) -> &blake3::Hash {
        &self.model.loaded
    }

    /// Steps that were made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The mean loss of the tokens of `batch` that count. Nothing is changed.
    pub async fn loss(&mut self, batch: &TokenBatch) -> Result<f64, TrainError> {
        self.check(batch)?;
        let gpu = self.gpu.clone();
        let (mut runner, mut sum) = (Runner::new(&gpu), 0.0);
        for part in batch.parts(self.options.accumulate) {
            self.give(&part)?;
            sum = self.forward(&part, &mut runner, sum).await?;
        }
        Ok(sum / batch.counted() as f64)
    }

    /// Computes the loss of `batch` and its gradients, and changes all weights. If the future is dropped before it ends,
    /// or an error of the device ends it, weights may have changed in part, and the trainer refuses to go on.
    pub async fn step(&mut self, batch: &TokenBatch) -> Result<StepReport, TrainError> {
        self.check(batch)?;
        let (step, counted) = (self.steps + 1, batch.counted());
        let update = self.options.update.step(step, counted);
        self.gpu.write(&self.activations.step, bytemuck::bytes_of(&update))?;
        let of_vectors = UpdateStep { weight_decay: 0.0, ..update };
        self.gpu.write(&self.activations.vector_step, bytemuck::bytes_of(&of_vectors))?;
        let gpu = self.gpu.clone();
        let mut runner = Runner::new(&gpu);
        let loss = self.gradients(batch, &mut runner, step).await? / counted as f64;
        let status = self.status().await?;
        (self.steps, self.is_torn) = (step, false);
        match status {
            0 => {}
            status if status & BAD_GRADIENT != 0 => {
                return Err(TrainError::NotFinite { step, what: "gradients" });
            }
            _ => return Err(TrainError::NotFinite { step, what: "new values" }),
        }
        Ok(StepReport { step, loss, counted, learning_rate: update.learning_rate })
    }

    /// An error if weights have changed in part.
    fn require_whole(&self) -> Result<(), TrainError> {
        if self.is_torn { Err(TrainError::Torn) } else { Ok(()) }
    }

    /// Computes the gradients of all parts of a batch, and changes all weights. The sum of the losses.
    async fn gradients(
        &mut self,
        batch: &TokenBatch,
        runner: &mut Runner<'_>,
        step: u64,
    ) -> Result<f64, TrainError> {
        let accumulates = self.options.accumulate > 1;
        let mut sum = 0.0;
        run_all(&self.ops.begin, runner).await?;
        for part in batch.parts(self.options.accumulate) {
            self.give(&part)?;
            sum = self.forward(&part, runner, sum).await?;
            if !sum.is_finite() {
                return Err(TrainError::LossNotFinite { step });
            }
            // Where gradients add up, weights change after the last of them.
            self.is_torn = !accumulates;
            self.backward(runner).await?;
        }
        self.is_torn = true;
        run_all(&self.ops.update, runner).await?;
        Ok(sum)
    }

    /// An error unless the trainer can take a batch.
    fn check(&self, batch: &TokenBatch) -> Result<(), TrainError> {
        self.require_whole()?;
        let wrong = |found: String, expected: String| TrainError::WrongBatch { found, expected };
        let (sequences, length) = (self.options.step_sequences(), self.sizes.length);
        if batch.length != length
            || batch.ids.len() != sequences * length
            || batch.targets.len() != batch.ids.len()
        {
            return Err(wrong(
                format!(
                    "{} tokens and {} targets in sequences of {}",
                    batch.ids.len(),
                    batch.targets.len(),
                    batch.length
                ),
                format!("{sequences} sequences of {length}"),
            ));
        }
        let vocab = self.config.vocab as u32;
        let is_target = |&&id: &&u32| id != NO_TARGET;
        let mut all = batch.ids.iter().chain(batch.targets.iter().filter(is_target));
        if let Some(id) = all.find(|&&id| id >= vocab) {
            return Err(wrong(format!("token {id}"), format!("a vocabulary of {vocab}")));
        }
        if batch.counted() == 0 {
            return Err(wrong("no token that counts towards the loss".into(), "at least one".into()));
        }
        Ok(())
    }

    /// Brings a part of a batch to the device.
    fn give(&self, batch: &TokenBatch) -> Result<(), TrainError> {
        let a = &self.activations;
        let (starts, places) = tokens_by_row(&batch.ids, self.config.vocab);
        for (buffer, words) in [
            (&a.ids, &batch.ids),
            (&a.targets, &batch.targets),
            (&a.row_starts, &starts),
            (&a.row_places, &places),
        ] {
            self.gpu.write(buffer, bytemuck::cast_slice(words))?;
        }
        Ok(self.gpu.write(&a.status, bytemuck::bytes_of(&0u32))?)
    }

    /// Adds the losses of the batch that is on the device to `before`; NaN if they are not finite.
    async fn forward(
        &mut self,
        batch: &TokenBatch,
        runner: &mut Runner<'_>,
        before: f64,
    ) -> Result<f64, TrainError> {
        self.readback.ready(&self.gpu).await?;
        run_all(&self.ops.forward, runner).await?;
        let bytes = self.activations.stats.size();
        let (readback, stats) = (&self.readback, &self.activations.stats);
        self.gpu.submit("loss", |encoder| readback.record(encoder, stats, bytes))?;
        let sum = |bytes: &[u8]| {
            let stats = bytemuck::pod_collect_to_vec::<u8, LogitStats>(bytes);
            let counts = stats.iter().zip(&batch.targets).filter(|&(_, &target)| target != NO_TARGET);
            counts.fold(before, |sum, (stats, _)| sum + stats.loss())
        };
        Ok(self.readback.read(&self.gpu, bytes, sum).await?)
    }

    /// Computes gradients and changes weights. Where changed weights have too little room, makes more.
    async fn backward(&mut self, runner: &mut Runner<'_>) -> Result<(), TrainError> {
        for i in 0..self.ops.backward.segments().len() {
            runner.run(&self.ops.backward.segments()[i]).await?;
            if !self.ops.backward.segments()[i].encodes() {
                continue;
            }
            let needs = self.needs().await?;
            if self.grow(&needs)? {
                runner.encode_again(&self.ops.backward.segments()[i]).await?;
            }
        }
        Ok(())
    }

    /// Makes more room for pieces that need it. Whether there were any.
    fn grow(&mut self, needs: &[Needs]) -> Result<bool, TrainError> {
        let mut is_grown = false;
        for matrix in self.model.matrices_mut() {
            for piece in &mut matrix.pieces {
                let size = Matrix { rows: piece.rows.len(), cols: matrix.cols };
                let moments = piece.moments.kept_mut().iter_mut().map(|kept| (kept.number, &mut kept.stored));
                for (number, stored) in [(piece.number, &mut piece.stored)].into_iter().chain(moments) {
                    let (Stored::Encoded(encoded), Some(needs)) = (&*stored, needs.get(number)) else {
                        continue;
                    };
                    if !encoded.holds(needs) {
                        log::debug!("{}: more room for rows {:?}: {needs:?}", matrix.name, piece.rows);
                        *stored = grown(&self.gpu, &matrix.name, size, encoded, needs)?;
                        is_grown = true;
                    }
                }
            }
        }
        if is_grown {
            self.record()?;
        }
        Ok(is_grown)
    }

    /// What each piece needs, if pieces are compressed.
    async fn needs(&mut self) -> Result<Vec<Needs>, GpuError> {
        let Some(wide) = &self.room.wide else { return Ok(Vec::new()) };
        let len = wide.needs.size();
        self.readback.ready(&self.gpu).await?;
        self.gpu.submit("needs", |encoder| self.readback.record(encoder, &wide.needs, len))?;
        self.readback.read(&self.gpu, len, bytemuck::pod_collect_to_vec::<u8, Needs>).await
    }

    async fn status(&mut self) -> Result<u32, GpuError> {
        self.readback.ready(&self.gpu).await?;
        let (readback, status) = (&self.readback, &self.activations.status);
        self.gpu.submit("status", |encoder| readback.record(encoder, status, 4))?;
        self.readback.read(&self.gpu, 4, bytemuck::pod_read_unaligned::<u32>).await
    }

    /// The names and shapes of all tensors, in the order of their names.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = crate::model::tensor_shapes(&self.config);
        all.sort();
        all
    }

    /// The names and shapes of what is trained, in the order of their names: all tensors, or the factors of adapters.
    pub fn trained(&self) -> Vec<(String, Vec<usize>)> {
        let Some((adapters, _)) = &self.adapters else { return self.tensors() };
        let mut all: Vec<_> =
            adapters.factors().map(|factor| (factor.name.clone(), factor.shape.clone())).collect();
        all.sort();
        all
    }

    /// The bytes of a trained tensor, row-major: BF16, or F32 if it is a factor of an adapter.
    pub async fn read_bytes(&self, name: &str) -> Result<Vec<u8>, TrainError> {
        self.require_whole()?;
        if let Some(factor) = self.factor(name) {
            return Ok(download(&self.gpu, &factor.weights, 4 * factor.len as u64).await?);
        }
        let bits = self.read(name).await?.ok_or(TrainError::Internal("there is no such tensor"))?;
        Ok(bits.iter().flat_map(|bits| bits.to_le_bytes()).collect())
    }

    /// A factor of an adapter.
    pub(super) fn factor(&self, name: &str) -> Option<&TrainedVector> {
        self.adapters.as_ref()?.0.factors().find(|factor| factor.name == name)
    }

    /// The bits of a tensor's weights, BF16, row-major; `None` if there is no such tensor.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u16>>, TrainError> {
        if let Some(vector) = self.model.vectors().find(|vector| vector.name == name) {
            return Ok(Some(vector.read(&self.gpu).await?));
        }
        let Some(matrix) = self.model.matrices().find(|matrix| matrix.name == name) else { return Ok(None) };
        let mut bits = Vec::new();
        for piece in &matrix.pieces {
            bits.extend(self.bits_of(matrix, piece, &piece.stored).await?);
        }
        Ok(Some(bits))
    }

    /// BF16 numbers that are stored as the weights of a piece are, row-major.
    pub(super) async fn bits_of(
        &self,
        matrix: &TrainedMatrix,
        piece: &Piece,
        stored: &Stored,
    ) -> Result<Vec<u16>, TrainError> {
        let bytes = self.wide_bytes(stored, matrix.wide_bytes(piece)).await?;
        Ok(matrix.bits_in(piece, &bytes))
    }

    /// The uncompressed words of what is stored as weights are.
    async fn wide_bytes(&self, stored: &Stored, len: u64) -> Result<Vec<u8>, TrainError> {
        let encoded = match (stored, &self.room.wide) {
            (Stored::Raw(words) | Stored::Copied(words), _) => {
                return Ok(download(&self.gpu, words, len).await?);
            }
            (Stored::Encoded(encoded), Some(wide)) => (encoded, wide),
            (_, None) => return Err(TrainError::Internal("there is no room for uncompressed weights")),
        };
        let (encoded, wide) = encoded;
        let part = Buffer::part_of(&wide.buffer, 0..len);
        let dispatch = encoded.widen(&self.gpu, (&part).into())?;
        self.gpu.submit("widen", |encoder| {
            Dispatch::record_all(encoder, [&dispatch], Batch { tokens: 1, outputs: 1 });
        })?;
        Ok(download(&self.gpu, &part, len).await?)
    }

    /// The most bytes of device memory in use so far.
    pub fn peak_device_bytes(&self) -> u64 {
        self.gpu.memory().peak()
    }

    /// Bytes of all weights in device memory.
    pub fn weight_bytes(&self) -> u64 {
        let matrices =
            self.model.matrices().flat_map(|matrix| &matrix.pieces).map(|piece| piece.stored.bytes());
        let vectors = self.model.vectors().map(|vector| vector.weights.size());
        matrices.sum::<u64>() + vectors.sum::<u64>()
    }

    /// A hash of the bytes of all that is trained, in the order of names.
    pub async fn weights_blake3(&self) -> Result<blake3::Hash, TrainError> {
        let mut hasher = blake3::Hasher::new();
        for (name, _) in self.trained() {
            hasher.update(&self.read_bytes(&name).await?);
        }
        Ok(hasher.finalize())
    }
}

/// Submits all segments.
async fn run_all(ops: &Ops, runner: &mut Runner<'_>) -> Result<(), GpuError> {
    for segment in ops.segments() {
        runner.run(segment).await?;
    }
    Ok(())
}

/// An error if the trainer does not compute something that the model has.
fn require_trainable(config: &ModelConfig, options: &TrainOptions) -> Result<(), TrainError> {
    require_consistent(options)?;
    if options.length > config.max_positions {
        let found = format!("sequences of {} tokens", options.length);
        return Err(TrainError::WrongBatch {
            found,
            expected: format!("{} positions at the most", config.max_positions),
        });
    }
    if options.length == 0 || options.step_sequences() == 0 {
        let found = format!("{} sequences of {}", options.step_sequences(), options.length);
        return Err(TrainError::WrongBatch { found, expected: "at least one token".into() });
    }
    let sequences = options.step_sequences();
    if options.length.checked_mul(sequences).is_none_or(|tokens| tokens > MOST_STEP_TOKENS) {
        let found = format!("{sequences} sequences of {}", options.length);
        let expected = format!("{MOST_STEP_TOKENS} tokens at the most");
        return Err(TrainError::WrongBatch { found, expected });
    }
    Ok(())
}

/// An error if options of updates do not go together.
fn require_consistent(options: &TrainOptions) -> Result<(), TrainError> {
    let update = &options.update;
    let is_adam = matches!(update.optimizer, Optimizer::AdamW { .. });
    if options.accumulate > 1 && options.lora.is_none() {
        let what = "gradients of several batches add up for adapters only: those of all weights are never all there. \
                    More sequences in a batch do the same";
        return Err(TrainError::Options { what });
    }
    let what = match (update.moments, update.clip) {
        (MomentsDtype::Bf16, _) if !is_adam => "only AdamW has moments that could be BF16",
        (MomentsDtype::Bf16, _) if options.lora.is_some() => {
            "adapters are trained with moments of F32; they are small"
        }
        (_, Some(_)) if matches!(update.optimizer, Optimizer::AdaLomo { .. }) => {
            "AdaLomo limits the change of each tensor by itself; it takes no limit for gradients"
        }
        (_, Some(clip)) if !(clip > 0.0 && clip.is_finite()) => {
            "gradients can only be limited to a finite size above 0"
        }
        _ => return Ok(()),
    };
    Err(TrainError::Options { what })
}
