//! What a session takes in device memory, known before there is one.

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
    // The residual stream and what is normed, gate and up.
    let widths = 2 * (strides.hidden + strides.intermediate) + strides.qkv + strides.attended;
    let product = |numbers: &[usize]| {
        numbers.iter().fold(1u64, |product, &number| product.saturating_mul(number as u64))
    };
    let buffers = [
        product(&[widths, BATCH, 4]),
        product(&[positions, strides.hidden, 4]),
        // The logits, and the buffer that they are read from.
        product(&[2, positions, config.vocab, 4]),
        Gpu::buffer_bytes(argmax::found_bytes(config.vocab)),
        2 * top::FOUND_BYTES,
        product(&[config.layers, 2, config.kv_heads, context, config.head_dim, 4]),
        product(&[BATCH, 4]) + size_of::<Step>() as u64,
        dispatch_bytes(config),
    ];
    let own = buffers.into_iter().fold(0, u64::saturating_add);
    // The table that sessions of a model share. What it takes to bring it there is gone before the rest is made.
    product(&[context, config.head_dim / 2, 8]).saturating_add(own.max(Uploader::LEAST))
}

/// What the parameters of a session's dispatches take, at the most.
fn dispatch_bytes(config: &ModelConfig) -> u64 {
    // A matrix is in several parts where it is large.
    let parts = |rows: usize, cols: usize| 1 + (rows as u64 * cols as u64 * 4) / (32 << 20);
    let shapes = products(config);
    // Of one token, of a small batch, and of those that weights of either layout are widened for.
    let of_product =
        |p: &ProductShape| parts(p.rows, p.cols) * (1 + 3 * (1 + matmul::most_dispatches(BATCH, p.cols)));
    let of_products: u64 = shapes.iter().map(of_product).sum();
    let layers = config.layers as u64 * (of_products + 2 * 5);
    // The output matrix is in more parts where it is in stages, which may be as small as a product.
    let elements = |rows: usize, cols: usize| (rows as u64).saturating_mul(cols as u64);
    let layer: u64 = shapes.iter().map(|p| elements(p.rows, p.cols)).sum();
    let a_layer = 2 * shapes.len() as u64;
    let stages = elements(config.vocab, config.hidden).saturating_mul(a_layer) / layer.max(1);
    let stages = stages.min(config.vocab.div_ceil(LANES) as u64);
    let outputs = 1 + 3 * (1 + matmul::most_dispatches(BATCH, config.hidden));
    let ends = (2 * parts(config.vocab, config.hidden) + stages) * outputs + 2 * 3;
    (layers + ends) * DISPATCH_BYTES
}

/// At least what one dispatch's parameters take.
const DISPATCH_BYTES: u64 = 128;
