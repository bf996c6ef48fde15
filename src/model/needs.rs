//! What a model takes in device memory, before anything of it is uploaded.

use super::config::ModelConfig;
use super::error::ModelError;
use super::layer::{ProductShape, head_norms, layer_name, norms, products};
use super::load::require;
use crate::archive::{ModelFiles, Stored};
use crate::codec::Precision;
use crate::gpu::weights::MatrixBytes;
use crate::gpu::{Gpu, Slot, Uploader};
use crate::stream::{LayerNeeds, Needs};
use crate::tensor::Matrix;

/// Reads the heads of a model's tensors.
pub(super) struct Census<'a> {
    pub gpu: &'a Gpu,
    pub files: &'a ModelFiles,
    pub config: &'a ModelConfig,
    /// How much of weights is read.
    pub precision: Precision,
    /// Whether weights are uncompressed first.
    pub raw: bool,
    /// Whether pinned weights are transcoded to the fast layout, where they can be.
    pub fast: bool,
}

/// What one matrix or several take.
#[derive(Default)]
struct MatrixNeeds {
    layer: LayerNeeds,
    /// What is there for a while when one is transcoded.
    transcoding: u64,
}

impl MatrixNeeds {
    /// Of something that stays as it is.
    fn fixed(bytes: u64) -> Self {
        Self { layer: LayerNeeds { pinned: bytes, beside_slot: bytes, in_slot: 0 }, transcoding: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.layer.pinned += other.layer.pinned;
        self.layer.beside_slot += other.layer.beside_slot;
        self.layer.in_slot += other.layer.in_slot;
        self.transcoding = self.transcoding.max(other.transcoding);
    }
}

impl Census<'_> {
    /// What the model takes, with `working_set` bytes left to sessions.
    pub fn needs(&self, working_set: u64) -> Result<Needs, ModelError> {
        let config = self.config;
        let size = Matrix { rows: config.vocab, cols: config.hidden };
        let mut fixed = self.matrix("model.embed_tokens.weight", size)?;
        if !config.tied {
            fixed.add(&self.matrix("lm_head.weight", size)?);
        }
        let layers: Vec<MatrixNeeds> =
            (0..config.layers).map(|layer| self.layer(layer)).collect::<Result<_, _>>()?;
        let transcoding = layers.iter().map(|layer| layer.transcoding).max();
        Ok(Needs {
            fixed: fixed.layer.pinned + vector(config.hidden),
            working_set,
            loading: Uploader::LEAST + transcoding.unwrap_or(0),
            loading_fixed: fixed.transcoding,
            buffers_a_slot: Slot::buffers(self.gpu),
            layers: layers.into_iter().map(|layer| layer.layer).collect(),
        })
    }

    fn layer(&self, layer: usize) -> Result<MatrixNeeds, ModelError> {
        let mut sum = MatrixNeeds::default();
        for (_, len) in norms(self.config).into_iter().chain(head_norms(self.config).into_iter().flatten()) {
            sum.add(&MatrixNeeds::fixed(vector(len)));
        }
        for ProductShape { name, rows, cols, bias } in products(self.config) {
            sum.add(&self.matrix(&(layer_name(layer, name) + ".weight"), Matrix { rows, cols })?);
            if bias {
                sum.add(&MatrixNeeds::fixed(vector(rows)));
            }
        }
        Ok(sum)
    }

    fn matrix(&self, name: &str, matrix: Matrix) -> Result<MatrixNeeds, ModelError> {
        let weight = require(self.files, name, &[matrix.rows, matrix.cols])?;
        let raw = || MatrixNeeds::fixed(MatrixBytes::raw(weight.dtype, matrix).unwrap_or(0));
        if self.raw {
            return Ok(raw());
        }
        let Stored::Compressed(payload) = weight.stored()? else { return Ok(raw()) };
        let Some(bytes) = MatrixBytes::of(self.gpu, name, &payload.at(self.precision))? else {
            return Ok(raw());
        };
        let fast = bytes.fast.filter(|_| self.fast);
        let layer = LayerNeeds {
            pinned: fast.unwrap_or(bytes.dense),
            beside_slot: bytes.beside_slot,
            in_slot: bytes.in_slot,
        };
        // The dense tiles, and twelve bytes a row that are measured and downloaded.
        let rows = Gpu::buffer_bytes(12 * matrix.rows as u64) + 4096;
        let transcoding = if fast.is_some() { bytes.dense + 2 * rows } else { 0 };
        Ok(MatrixNeeds { layer, transcoding })
    }
}

/// Bytes of a vector of `len` elements, widened to F32.
fn vector(len: usize) -> u64 {
    Gpu::buffer_bytes(4 * len as u64)
}
