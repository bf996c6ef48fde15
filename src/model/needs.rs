//! What a model takes in device memory, before anything of it is uploaded.

use super::config::ModelConfig;
use super::error::ModelError;
use super::layer::{head_norms, layer_name, norms, products};
use super::load::require;
use crate::archive::{ModelFiles, Stored};
use crate::gpu::weights::MatrixBytes;
use crate::gpu::{Gpu, Slot, Uploader};
use crate::stream::{LayerNeeds, Needs};
use crate::tensor::Matrix;

/// Reads the heads of a model's tensors.
pub(super) struct Census<'a> {
    pub gpu: &'a Gpu,
    pub files: &'a ModelFiles,
    pub config: &'a ModelConfig,
    /// Whether weights are uncompressed first.
    pub raw: bool,
    /// Whether pinned weights are transcoded to the fast layout, where they can be.
    pub fast: bool,
}

/// What a matrix takes.
struct MatrixNeeds {
    layer: LayerNeeds,
    /// What is there for a while when it is transcoded.
    transcoding: u64,
}

impl Census<'_> {
    /// What the model takes, with `working_set` bytes left to sessions.
    pub fn needs(&self, working_set: u64) -> Result<Needs, ModelError> {
        let config = self.config;
        let mut transcoding = 0;
        let mut matrix = |name: &str, rows, cols| -> Result<LayerNeeds, ModelError> {
            let needs = self.matrix(name, Matrix { rows, cols })?;
            transcoding = needs.transcoding.max(transcoding);
            Ok(needs.layer)
        };
        let mut fixed = matrix("model.embed_tokens.weight", config.vocab, config.hidden)?.pinned;
        if !config.tied {
            fixed += matrix("lm_head.weight", config.vocab, config.hidden)?.pinned;
        }
        fixed += vector(config.hidden);
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            let vectors = norms(config).into_iter().chain(head_norms(config).into_iter().flatten());
            let small: u64 = vectors.map(|(_, len)| vector(len)).sum();
            let mut sum = LayerNeeds { pinned: small, beside_slot: small, in_slot: 0 };
            for product in products(config) {
                let name = layer_name(layer, product.name) + ".weight";
                let needs = matrix(&name, product.rows, product.cols)?;
                let bias = if product.bias { vector(product.rows) } else { 0 };
                sum.pinned += needs.pinned + bias;
                sum.beside_slot += needs.beside_slot + bias;
                sum.in_slot += needs.in_slot;
            }
            layers.push(sum);
        }
        let loading = Uploader::LEAST + transcoding;
        Ok(Needs { fixed, working_set, loading, buffers_a_slot: Slot::buffers(self.gpu), layers })
    }

    fn matrix(&self, name: &str, matrix: Matrix) -> Result<MatrixNeeds, ModelError> {
        let weight = require(self.files, name, &[matrix.rows, matrix.cols])?;
        let stays = |bytes| MatrixNeeds {
            layer: LayerNeeds { pinned: bytes, beside_slot: bytes, in_slot: 0 },
            transcoding: 0,
        };
        let raw = || stays(MatrixBytes::raw(weight.dtype, matrix).unwrap_or(0));
        if self.raw {
            return Ok(raw());
        }
        let Stored::Compressed(payload) = weight.stored()? else { return Ok(raw()) };
        let Some(bytes) = MatrixBytes::of(self.gpu, name, payload.head())? else { return Ok(raw()) };
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
