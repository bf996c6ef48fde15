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
pub(crate) struct Activations {
    /// The residual stream, and what it was before each layer.
    pub x: Buffer,
    pub checkpoints: Vec<Buffer>,
    /// The norm before attention; rotated queries, rotated keys, and values; what attention gathers.
    pub normed: Buffer,
    pub qkv: Buffer,
    pub attended: Buffer,
    /// The norm before the MLP, and the MLP's parts.
    pub middle_normed: Buffer,
    pub gate: Buffer,
    pub up: Buffer,
    pub gated: Buffer,
    /// The norm before the output matrix.
    pub last_normed: Buffer,
    /// Attention's weights, and their gradients.
    pub weights: Buffer,
    pub weights_grad: Buffer,
    /// Gradients of the residual stream, and of what is between it.
    pub x_grad: Buffer,
    pub normed_grad: Buffer,
    pub qkv_grad: Buffer,
    pub attended_grad: Buffer,
    pub gated_grad: Buffer,
    /// What a norm multiplied each token by, and sums over tokens.
    pub scales: Buffer,
    pub sums: Buffer,
    /// Logits of a part of the vocabulary; what is known of all of them.
    pub logits: Buffer,
    pub stats: Buffer,
    pub running: Buffer,
    /// The batch: tokens, what should follow them, and where each row of the embedding has its tokens.
    pub ids: Buffer,
    pub targets: Buffer,
    pub row_starts: Buffer,
    pub row_places: Buffer,
    /// Cosines and sines of rotations.
    pub rotations: Buffer,
    /// What updates are given, of matrices and of vectors, and what went wrong.
    pub step: Buffer,
    pub vector_step: Buffer,
    pub status: Buffer,
    /// How many tokens there are.
    pub tokens_step: Buffer,
    /// Factors of products, where reading textures is faster.
    pub factors: Option<[Arc<Texture>; 2]>,
}

impl Activations {
    pub fn new(gpu: &Gpu, config: &ModelConfig, sizes: &Sizes) -> Result<Self, GpuError> {
        let tokens = sizes.tokens();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let words = |label: &str, count: usize| gpu.buffer(label, 4 * count as u64, usage);
        let each = |label: &str, len: usize| words(label, tokens * len);
        let uniform = |label: &str, bytes: &[u8]| gpu.buffer_with(label, bytes, wgpu::BufferUsages::UNIFORM);
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let (q_len, kv_len) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let weights = sizes.weights(config);
        let rotations = crate::model::rotations(config, 0..sizes.length);
        let of_tokens = Step { tokens: tokens as u32, position: 0, first_output: 0, rank: 0 };
        let of_a_token = hidden.max(intermediate).max(q_len + 2 * kv_len).max(sizes.output_rows);
        let most_factor = (tokens * of_a_token).max(weights).max(sizes.piece_weights);
        let none: UpdateStep = bytemuck::Zeroable::zeroed();
        Ok(Self {
            x: each("residual stream", hidden)?,
            checkpoints: (0..config.layers).map(|_| each("checkpoint", hidden)).collect::<Result<_, _>>()?,
            normed: each("norm", hidden)?,
            qkv: each("queries, keys and values", q_len + 2 * kv_len)?,
            attended: each("attention", q_len)?,
            middle_normed: each("norm", hidden)?,
            gate: each("gate", intermediate)?,
            up: each("up", intermediate)?,
            gated: each("gated", intermediate)?,
            last_normed: each("last norm", hidden)?,
            weights: words("attention's weights", weights)?,
            weights_grad: words("gradients of attention's weights", weights)?,
            x_grad: each("gradients", hidden)?,
            normed_grad: each("gradients of a norm", hidden)?,
            qkv_grad: each("gradients of queries, keys and values", q_len + 2 * kv_len)?,
            attended_grad: each("gradients of attention", q_len)?,
            gated_grad: each("gradients of the MLP", intermediate)?,
            scales: each("scales", 1)?,
            sums: words("sums", hidden.max(intermediate).max(q_len))?,
            logits: each("logits", sizes.output_rows)?,
            stats: each("what is known of logits", 4)?,
            running: each("running sums", RUNNING)?,
            ids: each("tokens", 1)?,
            targets: each("targets", 1)?,
            row_starts: words("where rows have tokens", config.vocab + 1)?,
            row_places: each("tokens of rows", 1)?,
            rotations: gpu.buffer_with("rotations", bytemuck::cast_slice(&rotations), usage)?,
            step: uniform("step", bytemuck::bytes_of(&none))?,
            vector_step: uniform("step", bytemuck::bytes_of(&none))?,
            status: words("status", 1)?,
            tokens_step: uniform("tokens", bytemuck::bytes_of(&of_tokens))?,
            factors: factors(gpu, most_factor)?,
        })
    }
}

/// Textures for factors of up to so many elements, if the device reads them faster and can have them.
fn factors(gpu: &Gpu, elements: usize) -> Result<Option<[Arc<Texture>; 2]>, GpuError> {
    let bytes = 4 * elements as u64;
    if gpu.target() != Target::Llvmpipe || bytes > gpu.max_texture_bytes() {
        return Ok(None);
    }
    let texture = || gpu.texture("factor", bytes, Texel::Vector).map(Arc::new);
    Ok(Some([texture()?, texture()?]))
}
