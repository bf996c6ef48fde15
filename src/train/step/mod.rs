//! The dispatches of a step: forward, loss, backward, updates. All of them are recorded when a trainer is made.

mod activations;
mod adapters;
mod attention;
mod factors;
mod head_norms;
mod layer;
mod ops;
mod products;
mod room;
mod vector;
mod vocabulary;

pub(crate) use activations::{Activations, Sizes, factor_bytes};
pub(crate) use adapters::AdapterRoom;
pub(crate) use factors::FactorRoom;
pub(crate) use ops::{Ops, Runner};
pub(crate) use room::{Room, Wide};

use std::cell::Cell;

use crate::gpu::kernels::training::updated::Rounded;
use crate::gpu::{Buffer, Gpu};
use crate::model::ModelConfig;
use crate::train::TrainError;
use crate::train::weights::{OptimizerState, TrainedAdapters, TrainedModel};

/// What dispatches are recorded with.
pub(crate) struct Recording<'a> {
    pub gpu: &'a Gpu,
    pub config: &'a ModelConfig,
    pub model: &'a TrainedModel,
    pub sizes: Sizes,
    pub room: &'a Room,
    pub activations: &'a Activations,
    /// Adapters that are trained instead of the model's own weights.
    pub adapters: Option<(&'a TrainedAdapters, &'a AdapterRoom)>,
    /// How weights are rounded.
    pub rounded: Rounded,
    /// What the optimizer keeps.
    pub state: OptimizerState,
    /// The byte of the room for uncompressed weights behind those that were changed since the host looked.
    pub changed_to: Cell<u64>,
}

/// What a step does, in order.
#[derive(Debug, Default)]
pub(crate) struct StepOps {
    /// Before the first of several batches.
    pub begin: Ops,
    /// Up to each token's loss.
    pub forward: Ops,
    /// Gradients, and updates where gradients do not add up over batches.
    pub backward: Ops,
    /// Updates where they do.
    pub update: Ops,
}

/// Part of the elements of every token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub buffer: &'a Buffer,
    /// Elements from one token to the next.
    pub stride: usize,
    /// The first element.
    pub first: usize,
}

impl<'a> Side<'a> {
    /// All elements of tokens that have so many.
    pub fn all(buffer: &'a Buffer, len: usize) -> Self {
        Self { buffer, stride: len, first: 0 }
    }
}

impl Recording<'_> {
    /// Records a step.
    pub fn step(&self) -> Result<StepOps, TrainError> {
        self.changed_to.set(0);
        let a = self.activations;
        let (mut forward, mut backward) = (Ops::default(), Ops::default());
        self.look_up(&mut forward)?;
        for (i, layer) in self.model.layers.iter().enumerate() {
            forward.copy(&a.x, &a.checkpoints[i]);
            self.layer_forward(&mut forward, i, layer)?;
            self.last_product(&mut forward, i, layer)?;
        }
        self.loss(&mut forward)?;
        self.loss_back(&mut backward)?;
        for (i, layer) in self.model.layers.iter().enumerate().rev() {
            backward.copy(&a.checkpoints[i], &a.x);
            self.layer_forward(&mut backward, i, layer)?;
            self.layer_back(&mut backward, i, layer, &a.checkpoints[i])?;
        }
        if self.adapters.is_none() {
            self.embedding_back(&mut backward)?;
        }
        let (mut begin, mut update) = (Ops::default(), Ops::default());
        self.clear_factors(&mut begin);
        self.update_factors(&mut update)?;
        Ok(StepOps { begin, forward, backward, update })
    }

    fn window_of(&self, layer: usize) -> u32 {
        self.config.windows[layer].map_or(u32::MAX, |window| u32::try_from(window).unwrap_or(u32::MAX))
    }
}
