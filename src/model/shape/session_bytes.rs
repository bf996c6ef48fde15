//! Estimates the device memory of a session before it is created.

use crate::codec::grid::LANES;
use crate::gpu::kernels::{Step, argmax, matmul, top};
use crate::gpu::{Gpu, Uploader};
use crate::model::config::model_config::ModelConfig;
use crate::model::shape::outputs::{BATCH, Outputs};
use crate::model::shape::strides::Strides;
use crate::model::shape::tensors::{ProductShape, products};

/// An upper estimate of the device memory that a session of a model takes, in bytes.
pub(crate) fn session_bytes(config: &ModelConfig, context: usize, outputs: Outputs) -> u64 {
    let strides = Strides::new(config);
    let positions = if outputs == Outputs::All { BATCH } else { 1 };
    // The residual stream and its normed copy, gate and up.
    let widths = 2 * (strides.hidden + strides.intermediate) + strides.qkv + strides.attended;
    let product = |numbers: &[usize]| {
        numbers.iter().fold(1u64, |product, &number| product.saturating_mul(number as u64))
    };
    let buffers = [
        product(&[widths, BATCH, 4]),
        product(&[positions, strides.hidden, 4]),
        // The logits, and the buffer from which the host reads them.
        product(&[2, positions, config.vocab, 4]),
        Gpu::buffer_bytes(argmax::found_bytes(config.vocab)),
        2 * top::FOUND_BYTES,
        product(&[config.layers, 2, config.kv_heads, context, config.head_dim, 4]),
        product(&[BATCH, 4]) + size_of::<Step>() as u64,
        dispatch_bytes(config),
    ];
    let own = buffers.into_iter().fold(0, u64::saturating_add);
    // The table that a model's sessions share. The memory to upload it is free again before the rest is
    // allocated.
    product(&[context, config.head_dim / 2, 8]).saturating_add(own.max(Uploader::LEAST))
}

/// An upper bound for the parameters of a session's dispatches, in bytes.
fn dispatch_bytes(config: &ModelConfig) -> u64 {
    // A large matrix has several parts.
    let parts = |rows: usize, cols: usize| 1 + (rows as u64 * cols as u64 * 4) / (32 << 20);
    let shapes = products(config);
    // Dispatches for one token, for a small batch, and for those batches for which weights of either layout
    // are widened.
    let of_product =
        |p: &ProductShape| parts(p.rows, p.cols) * (1 + 3 * (1 + matmul::most_dispatches(BATCH, p.cols)));
    let of_products: u64 = shapes.iter().map(of_product).sum();
    let layers = config.layers as u64 * (of_products + 2 * 5);
    // Stages split the output matrix into more parts, which may be as small as a product.
    let elements = |rows: usize, cols: usize| (rows as u64).saturating_mul(cols as u64);
    let layer: u64 = shapes.iter().map(|p| elements(p.rows, p.cols)).sum();
    let a_layer = 2 * shapes.len() as u64;
    let stages = elements(config.vocab, config.hidden).saturating_mul(a_layer) / layer.max(1);
    let stages = stages.min(config.vocab.div_ceil(LANES) as u64);
    let outputs = 1 + 3 * (1 + matmul::most_dispatches(BATCH, config.hidden));
    let ends = (2 * parts(config.vocab, config.hidden) + stages) * outputs + 2 * 3;
    (layers + ends) * DISPATCH_BYTES
}

/// An upper bound for the parameters of one dispatch, in bytes.
const DISPATCH_BYTES: u64 = 128;
