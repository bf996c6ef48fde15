//! Options of a trainer.

use crate::gpu::Transcoded;

use super::lora::LoraOptions;
use super::optimizer::{Decay, MomentsDtype, Optimizer, Rounding, Schedule, UpdateOptions};

/// What a trainer is made with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainOptions {
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Batches of a step, whose gradients add up. Only adapters can have several: gradients of all weights are never all
    /// there. It changes no bit whether sequences are in one batch or in several.
    pub accumulate: usize,
    /// How matrices are stored in device memory: compressed in this layout, or uncompressed.
    pub layout: Option<Transcoded>,
    /// Most weights of a matrix that are worked on at once, unless a single row block has more. It changes no bit.
    pub piece_weights: usize,
    /// Adapters that are trained instead of the model's own weights.
    pub lora: Option<LoraOptions>,
    /// How weights are changed.
    pub update: UpdateOptions,
}

impl Default for TrainOptions {
    fn default() -> Self {
        let schedule = Schedule { learning_rate: 1e-4, warm_up: 0, decay: Decay::Constant, steps: 0 };
        let update = UpdateOptions {
            optimizer: Optimizer::ADAM_W,
            rounding: Rounding::Stochastic,
            schedule,
            weight_decay: 0.0,
            moments: MomentsDtype::F32,
            clip: None,
            seed: 0,
        };
        Self {
            length: 512,
            sequences: 1,
            accumulate: 1,
            layout: Some(Transcoded::Tiered),
            piece_weights: 2 << 20,
            lora: None,
            update,
        }
    }
}

impl TrainOptions {
    /// Sequences of all batches of a step.
    pub fn step_sequences(&self) -> usize {
        self.sequences.saturating_mul(self.accumulate)
    }
}

setters!(TrainOptions {
    length: usize => with_length,
    sequences: usize => with_sequences,
    accumulate: usize => with_accumulate,
    layout: Option<Transcoded> => with_layout,
    piece_weights: usize => with_piece_weights,
    lora: Option<LoraOptions> => with_lora,
    update: UpdateOptions => with_update,
});
