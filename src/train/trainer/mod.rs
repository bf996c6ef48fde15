//! A model that is being trained.

mod growing;
mod reading;
mod stepping;

use std::cell::Cell;

pub use self::stepping::StepReport;
use super::error::TrainError;
use super::optimizer::Rounding;
use super::options::TrainOptions;
use super::plan::TrainPlan;
use super::step::{Activations, AdapterRoom, FactorRoom, Recording, Room, Sizes, StepOps, Wide};
use super::trainable::require_trainable;
use super::weights::{Loading, OptimizerState, TrainedAdapters, TrainedModel, matrices, pieces};
use crate::archive::ModelFiles;
use crate::gpu::kernels::training::logit_stats::LogitStats;
use crate::gpu::kernels::training::updated::Rounded;
use crate::gpu::{Gpu, GpuError, Readback};
use crate::model::{Adapter, ModelConfig};

/// A model's weights on a device, and everything that a step needs there. Nothing is allocated after it is made.
#[derive(Debug)]
pub struct Trainer {
    pub(in crate::train) gpu: Gpu,
    config: ModelConfig,
    pub(in crate::train) options: TrainOptions,
    pub(in crate::train) model: TrainedModel,
    sizes: Sizes,
    adapters: Option<(TrainedAdapters, AdapterRoom)>,
    pub(in crate::train) room: Room,
    activations: Activations,
    ops: StepOps,
    /// Statistics of logits, and the status.
    readback: Readback,
    /// Steps that were made.
    steps: u64,
    /// Whether a step has begun to change weights and has not ended.
    is_torn: bool,
}

impl Trainer {
    /// Loads the weights of a model's files, and gets everything ready.
    pub async fn load(gpu: &Gpu, files: &ModelFiles, options: TrainOptions) -> Result<Self, TrainError> {
        Self::load_with(gpu, files, options, None).await
    }

    /// The same with adapters that were trained before.
    pub(in crate::train) async fn load_with(
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
    pub(in crate::train) fn record(&mut self) -> Result<(), TrainError> {
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
    pub(in crate::train) fn set_steps(&mut self, steps: u64) {
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

    /// An error if weights have changed in part.
    fn require_whole(&self) -> Result<(), TrainError> {
        if self.is_torn { Err(TrainError::Torn) } else { Ok(()) }
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
}
