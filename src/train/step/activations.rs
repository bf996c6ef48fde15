//! What is kept of a batch on the device.

use crate::gpu::kernels::Step;
use crate::gpu::kernels::training::logit_stats::RUNNING;
use crate::gpu::kernels::training::updated::UpdateStep;
use std::sync::Arc;

use crate::gpu::{Buffer, Gpu, GpuError, Target, Texel, Texture};
use crate::model::ModelConfig;

/// The sizes of a batch, and of what is worked on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Sequences of a batch.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Most weights in a piece of a matrix.
    pub piece_weights: usize,
    /// Most rows of the output matrix in a piece.
    pub output_rows: usize,
    /// Sequences, and KV heads of each, whose attention is computed at once.
    pub at_once: [usize; 2],
}

/// Most bytes of attention's weights at a time, unless one KV head of one sequence has more.
const MOST_WEIGHTS: usize = 32 << 20;

impl Sizes {
    /// Tokens of a batch.
    pub fn tokens(&self) -> usize {
        self.sequences * self.length
    }

    /// How much of attention is computed at once.
    pub fn attention_at_once(config: &ModelConfig, sequences: usize, length: usize) -> [usize; 2] {
        let each = 4 * (config.heads / config.kv_heads) * length * length;
        let all = (MOST_WEIGHTS / each.max(1)).max(1);
        if all >= config.kv_heads * sequences {
            [sequences, config.kv_heads]
        } else {
            [1, all.min(config.kv_heads)]
        }
    }

    /// Elements of attention's weights.
    pub fn weights(&self, config: &ModelConfig) -> usize {
        let [sequences, kv_heads] = self.at_once;
        sequences * kv_heads * (config.heads / config.kv_heads) * self.length * self.length
    }
}

/// What is kept of a batch. Gradients are those of the loss.
#[derive(Debug)]
pub(crate) struct Activations<B = Buffer> {
    /// The residual stream, and what it was before each layer.
    pub x: B,
    pub checkpoints: Vec<B>,
    /// The norm before attention; rotated queries, rotated keys, and values; what attention gathers.
    pub normed: B,
    pub qkv: B,
    /// Queries and keys before their norms, if there are any, and what each token contributes to gradients of these.
    pub before_norms: Option<B>,
    pub head_sums: Option<B>,
    pub attended: B,
    /// The norm before the MLP, and the MLP's parts.
    pub middle_normed: B,
    pub gate: B,
    pub up: B,
    pub gated: B,
    /// The norm before the output matrix.
    pub last_normed: B,
    /// Attention's weights, and their gradients.
    pub weights: B,
    pub weights_grad: B,
    /// Gradients of the residual stream, and of what is between it.
    pub x_grad: B,
    pub normed_grad: B,
    pub qkv_grad: B,
    pub attended_grad: B,
    pub gated_grad: B,
    /// What a norm multiplied each token by, and sums over tokens.
    pub scales: B,
    pub sums: B,
    /// Logits of a part of the vocabulary; what is known of all of them.
    pub logits: B,
    pub stats: B,
    pub running: B,
    /// The batch: tokens, what should follow them, and where each row of the embedding has its tokens.
    pub ids: B,
    pub targets: B,
    pub row_starts: B,
    pub row_places: B,
    /// Cosines and sines of rotations.
    pub rotations: B,
    /// What updates are given, of matrices and of vectors, and what went wrong.
    pub step: B,
    pub vector_step: B,
    pub status: B,
    /// How many tokens there are.
    pub tokens_step: B,
    /// Factors of products, where reading textures is faster.
    pub factors: Option<[Arc<Texture>; 2]>,
}

impl<B> Activations<B> {
    /// Makes each buffer of so many bytes: on a device, or only to count them.
    pub fn make<E>(
        config: &ModelConfig,
        sizes: &Sizes,
        buffer: &mut dyn FnMut(&str, u64, Kind) -> Result<B, E>,
    ) -> Result<Self, E> {
        let tokens = sizes.tokens();
        let mut words = |label: &str, count: usize| buffer(label, 4 * count as u64, Kind::Words);
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let (q_len, kv_len) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let qkv_len = q_len + 2 * kv_len;
        let weights = sizes.weights(config);
        Ok(Self {
            x: words("residual stream", tokens * hidden)?,
            checkpoints: (0..config.layers)
                .map(|_| words("checkpoint", tokens * hidden))
                .collect::<Result<_, _>>()?,
            normed: words("norm", tokens * hidden)?,
            qkv: words("queries, keys and values", tokens * qkv_len)?,
            before_norms: match config.head_norms {
                true => Some(words("queries and keys before their norms", tokens * (q_len + kv_len))?),
                false => None,
            },
            head_sums: match config.head_norms {
                true => Some(words("sums of heads", tokens * config.head_dim)?),
                false => None,
            },
            attended: words("attention", tokens * q_len)?,
            middle_normed: words("norm", tokens * hidden)?,
            gate: words("gate", tokens * intermediate)?,
            up: words("up", tokens * intermediate)?,
            gated: words("gated", tokens * intermediate)?,
            last_normed: words("last norm", tokens * hidden)?,
            weights: words("attention's weights", weights)?,
            weights_grad: words("gradients of attention's weights", weights)?,
            x_grad: words("gradients", tokens * hidden)?,
            normed_grad: words("gradients of a norm", tokens * hidden)?,
            qkv_grad: words("gradients of queries, keys and values", tokens * qkv_len)?,
            attended_grad: words("gradients of attention", tokens * q_len)?,
            gated_grad: words("gradients of the MLP", tokens * intermediate)?,
            scales: words("scales", tokens)?,
            sums: words("sums", hidden.max(intermediate).max(q_len))?,
            logits: words("logits", tokens * sizes.output_rows)?,
            stats: words("what is known of logits", 4 * tokens)?,
            running: words("running sums", RUNNING * tokens)?,
            ids: words("tokens", tokens)?,
            targets: words("targets", tokens)?,
            row_starts: words("where rows have tokens", config.vocab + 1)?,
            row_places: words("tokens of rows", tokens)?,
            rotations: words("rotations", sizes.length * config.head_dim)?,
            status: words("status", 1)?,
            step: buffer("step", size_of::<UpdateStep>() as u64, Kind::Uniform)?,
            vector_step: buffer("step", size_of::<UpdateStep>() as u64, Kind::Uniform)?,
            tokens_step: buffer("tokens", size_of::<Step>() as u64, Kind::Uniform)?,
            factors: None,
        })
    }
}

/// How kernels see a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Words,
    Uniform,
}

impl Sizes {
    /// Elements of the largest factor of a product.
    pub fn largest_factor(&self, config: &ModelConfig) -> usize {
        let qkv_len = (config.heads + 2 * config.kv_heads) * config.head_dim;
        let of_a_token = config.hidden.max(config.intermediate).max(qkv_len).max(self.output_rows);
        (self.tokens() * of_a_token).max(self.weights(config)).max(self.piece_weights)
    }
}

impl Activations {
    pub fn new(gpu: &Gpu, config: &ModelConfig, sizes: &Sizes) -> Result<Self, GpuError> {
        let mut buffer = |label: &str, bytes: u64, kind: Kind| {
            let usage = match kind {
                Kind::Words => wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                Kind::Uniform => wgpu::BufferUsages::UNIFORM,
            };
            gpu.buffer(label, bytes, usage | wgpu::BufferUsages::COPY_DST)
        };
        let made = Self::make(config, sizes, &mut buffer)?;
        let rotations = crate::model::rotations(config, 0..sizes.length);
        gpu.write(&made.rotations, bytemuck::cast_slice(&rotations))?;
        let of_tokens = Step { tokens: sizes.tokens() as u32, position: 0, first_output: 0, rank: 0 };
        gpu.write(&made.tokens_step, bytemuck::bytes_of(&of_tokens))?;
        Ok(Self { factors: factors(gpu, sizes.largest_factor(config))?, ..made })
    }
}

/// Bytes of a texture for factors of up to so many elements, if the device reads them faster and can have them.
pub(crate) fn factor_bytes(gpu: &Gpu, elements: usize) -> Option<u64> {
    let bytes = gpu.texture_bytes(4 * elements as u64);
    (gpu.target() == Target::Llvmpipe && bytes <= gpu.max_texture_bytes()).then_some(bytes)
}

/// Textures for factors of up to so many elements.
fn factors(gpu: &Gpu, elements: usize) -> Result<Option<[Arc<Texture>; 2]>, GpuError> {
    let Some(bytes) = factor_bytes(gpu, elements) else { return Ok(None) };
    let texture = || gpu.texture("factor", bytes, Texel::Vector).map(Arc::new);
    Ok(Some([texture()?, texture()?]))
}
