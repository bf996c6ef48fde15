//! A model's weights in device memory, and where each of them is.

use std::sync::{Arc, Mutex, Weak};

use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Buffer, Gpu, Sweep, WideRoom};
use crate::model::config::model_config::ModelConfig;
use crate::model::plan::precisions::Precisions;
use crate::model::weights::layer_weights::LayerWeights;
use crate::model::weights::rotations::Rotations;
use crate::stream::{Passes, Plan, Ring, StreamStats, TokenRows};

/// A model's weights on a device.
#[derive(Debug)]
pub struct Model {
    pub(crate) gpu: Gpu,
    pub(crate) config: ModelConfig,
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<LayerWeights>,
    /// Elements from one token's products with an adapter's A to the next one's; 0 without an adapter.
    pub(crate) adapter_stride: usize,
    pub(crate) norm: Buffer,
    /// The output matrix: whole, or in parts of its rows.
    pub(crate) output: Vec<DeviceMatrix>,
    pub(crate) plan: Option<Plan>,
    pub(crate) precisions: Precisions,
    /// The buffer in which weights are widened for batches, if memory allows it.
    pub(crate) wide_room: Option<WideRoom>,
    /// The rotations that living sessions share.
    pub(crate) rotations: Mutex<Weak<Rotations>>,
    /// Drives the passes of sessions that share a ring, or fetches rows of the embedding. It precedes these
    /// fields, so that its thread has released them when they are dropped.
    pub(crate) passes: Option<Passes>,
    /// The slots of streamed weights.
    pub(crate) ring: Option<Arc<Ring>>,
    // The last field: it frees what the others leave.
    pub(crate) _sweep: Sweep,
}

/// The place of the embedding's rows.
#[derive(Debug)]
pub(crate) enum Embedding {
    /// In the output matrix, which is then in one piece.
    InOutput,
    /// In a matrix on the device.
    Apart(Box<DeviceMatrix>),
    /// In their file, read by the host.
    OnHost(Arc<TokenRows>),
}

impl Model {
    /// The precision at which each weight was read.
    pub fn precisions(&self) -> &Precisions {
        &self.precisions
    }

    /// The plan for keeping this model in device memory; `None` if there is no budget.
    pub fn residency(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The cost of streaming since the model was loaded; all zero if no weights are streamed.
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
