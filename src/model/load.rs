//! From a model's files to weights in device memory.

use std::sync::Arc;

use super::config::ModelConfig;
use super::error::ModelError;
use super::layer::LayerWeights;
use crate::archive::{ArchiveError, ModelFiles, Progress, Stored, Weight};
use crate::codec::Precision;
use crate::gpu::weights::DeviceMatrix;
use crate::gpu::{Buffer, Gpu, Uploader, fast};
use crate::tensor::{Dtype, Matrix};

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Uncompress weights and compute from them as they were: what compressed runs are compared with.
    pub raw: bool,
    /// How compressed weights are kept in device memory.
    pub layout: Layout,
    /// How much of compressed weights is read. What is not is neither read from the file nor uploaded.
    pub precision: Precision,
}

/// How compressed weights are kept in device memory. Results are the same bits from each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// As in files, the smallest: about 10.6 bits a BF16.
    Dense,
    /// BF16 in about 12 bits that are read faster than dense tiles; other types as [`Layout::Dense`].
    Fast,
    /// Fast where the device's [choices](crate::gpu::KernelChoices) say that it is faster, and where it
    /// leaves a quarter of the device's budget to sessions or there is no budget; else dense.
    #[default]
    Auto,
}

impl Layout {
    /// Whether weights are to be in the fast layout.
    fn is_fast(self, gpu: &Gpu, files: &ModelFiles) -> bool {
        let wanted = |weight: Weight<'_>| match weight.shape {
            &[rows, cols] if weight.dtype == Dtype::BF16 => fast::usual_bytes(rows, cols),
            _ => weight.original_len as u64,
        };
        match self {
            Self::Dense => false,
            Self::Fast => true,
            Self::Auto if !gpu.choices().fast_is_faster => false,
            Self::Auto => gpu.memory().budget().is_none_or(|budget| {
                let wanted = files.weights().map(wanted).fold(0, u64::saturating_add);
                wanted <= budget - budget / 4
            }),
        }
    }
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
        let fast = options.layout.is_fast(gpu, files);
        let mut loader = Loader { gpu, files, options, fast, uploader: Uploader::new(gpu)?, progress };
        let total = files.weights().map(|w| w.original_len as u64).fold(0, u64::saturating_add);
        progress.begin(total, "loading");
        let model = loader.model(config).await;
        progress.finish();
        model
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device that the weights are on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Bytes of all weights in device memory.
    pub fn weight_bytes(&self) -> u64 {
        let head = if Arc::ptr_eq(&self.head, &self.embedding) { 0 } else { self.head.bytes() };
        self.embedding.bytes()
            + head
            + self.norm.size()
            + self.layers.iter().map(LayerWeights::bytes).sum::<u64>()
    }
}

impl Linear {
    pub fn bytes(&self) -> u64 {
        self.weights.bytes() + self.bias.as_ref().map_or(0, Buffer::size)
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
}

impl<'a> Loader<'a> {
    async fn model(&mut self, config: ModelConfig) -> Result<Model, ModelError> {
        let embedding =
            Arc::new(self.matrix("model.embed_tokens.weight", config.vocab, config.hidden).await?);
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            layers.push(LayerWeights::load(self, &config, layer).await?);
        }
        let norm = self.vector("model.norm.weight", config.hidden)?;
        let head = if config.tied {
            embedding.clone()
        } else {
            Arc::new(self.matrix("lm_head.weight", config.vocab, config.hidden).await?)
        };
        Ok(Model { gpu: self.gpu.clone(), config, embedding, layers, norm, head })
    }

    /// A product's `[rows, cols]` matrix, and its bias where it has one.
    pub async fn linear(
        &mut self,
        name: &str,
        [rows, cols]: [usize; 2],
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let weights = self.matrix(&format!("{name}.weight"), rows, cols).await?;
        let bias = if bias { Some(self.vector(&format!("{name}.bias"), rows)?) } else { None };
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
        let weight = self.files.require(name)?;
        if weight.shape != shape {
            return Err(ModelError::WrongTensor {
                tensor: name.into(),
                expected: format!("shape {shape:?}"),
                found: format!("shape {:?}", weight.shape),
            });
        }
        Ok(weight)
    }
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
