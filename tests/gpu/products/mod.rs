//! Kernels that read weights compute what their twins on the CPU say, from every form of weights and for
//! awkward shapes. Here is how a product, and what a row is looked up as, are compared.

mod every_form;
mod forms;
mod invocations;
mod joined;
mod long_rows;
mod parts;
mod transcoded;

use bantam::gpu::kernels::matvec::Product;
use bantam::gpu::kernels::{embed, matmul, matvec, widen};
use bantam::gpu::weights::DeviceMatrix;
use bantam::gpu::{Dispatch, Gpu, WideRoom};
use bantam::tensor::Matrix;
use wgpu::BufferUsages;

use self::forms::Weights;
use crate::on_device::{EPSILON, assert_close, normal, padded, read, run, step, storage, uniform};

/// Sizes around the edges of chunks (16), row blocks (64) and tiles (256 and more columns).
const SHAPES: [(usize, usize); 8] =
    [(100, 50), (64, 16), (130, 300), (1, 33), (63, 1), (65, 513), (70, 800), (200, 1040)];

/// What rounding may change in a sum of products: one rounding a step, in the device or its twin,
/// of partial sums that the sum of magnitudes bounds.
fn product_tolerance(weights: &Weights, x: &[f32], added: f32, row: usize) -> f64 {
    let row = &weights.values[row * weights.cols..][..weights.cols];
    let magnitudes: f64 = row.iter().zip(x).map(|(w, x)| f64::from((w * x).abs())).sum();
    (weights.cols + 4) as f64 * 2.0 * EPSILON * (magnitudes + f64::from(added.abs()))
}

/// Checks matvec and matmul of `weights` by `tokens` tokens, which must also give the same bits.
fn check_products(gpu: &Gpu, weights: &Weights, tokens: usize, with_bias: bool, accumulate: bool) {
    let Matrix { rows, cols } = weights.device.matrix;
    let what = format!(
        "{:?} {rows}x{cols}, {tokens} tokens, bias {with_bias}, accumulate {accumulate}",
        weights.device.format
    );
    let x_stride = weights.device.padded_cols() + 16;
    let y_stride = rows + 3;
    let room = tokens.next_multiple_of(16);
    let x = normal(1, tokens * cols);
    // What lies past the last token must not matter.
    let mut padded_x = padded(&x, cols, x_stride, 0.0);
    padded_x.resize(room * x_stride, f32::NAN);
    let bias = normal(2, rows);
    let before = normal(3, room * y_stride);

    let device_x = storage(gpu, &padded_x);
    let device_bias = storage(gpu, &bias);
    let step = uniform(gpu, step(tokens, 0));
    let multiply = |matrix: &DeviceMatrix, dispatches: &dyn Fn(&Product<'_>) -> Vec<Dispatch>| {
        let y = storage(gpu, &before);
        let product = Product {
            weights: matrix,
            x: &device_x,
            x_stride,
            y: &y,
            y_stride,
            bias: with_bias.then_some(&device_bias),
            accumulate,
        };
        run(gpu, &dispatches(&product), tokens);
        read(gpu, &y, room * y_stride)
    };

    let wanted =
        matmul::cpu(&weights.values, cols, weights.device.span_cols(), &x, with_bias.then_some(&bias[..]));
    let with_matmul = |product: &Product<'_>| matmul::dispatches(gpu, &step, product).unwrap();
    let with_matvec = |product: &Product<'_>| matvec::dispatches(gpu, product).unwrap();
    let by_matmul = multiply(&weights.device, &with_matmul);
    let by_matvec = multiply(&weights.device, &with_matvec);
    if let Some(raw) = &weights.raw {
        assert!(same_bits(&by_matmul, &multiply(raw, &with_matmul)), "matmul of {what} and of raw weights");
        assert!(same_bits(&by_matvec, &multiply(raw, &with_matvec)), "matvec of {what} and of raw weights");
        if tokens > 1 {
            check_widened(gpu, weights, &by_matmul, &what, |room| {
                let widened = |product: &Product<'_>| {
                    let dispatches = widen::dispatches(gpu, &step, room, product).unwrap();
                    // The least buffer and texture are for nothing.
                    assert_eq!(dispatches[0].label().starts_with("widen"), room.bytes() > 32, "{what}");
                    dispatches
                };
                multiply(&weights.device, &widened)
            });
        }
    }
    for token in 0..tokens {
        let at = token * y_stride;
        let old = |row: usize| if accumulate { before[at + row] } else { 0.0 };
        let wanted: Vec<f32> = (0..rows).map(|row| wanted[token * rows + row] + old(row)).collect();
        let x = &x[token * cols..][..cols];
        let tolerance = |row: usize| {
            let added = old(row).abs() + if with_bias { bias[row].abs() } else { 0.0 };
            product_tolerance(weights, x, added, row)
        };
        assert_close(
            &by_matmul[at..at + rows],
            &wanted,
            tolerance,
            &format!("matmul of {what}, token {token}"),
        );
    }
    assert_eq!(by_matvec[..rows], by_matmul[..rows], "matvec and matmul of {what}");
    let span_cols = weights.device.span_cols();
    assert_eq!(
        matvec::cpu(&weights.values, span_cols, &x[..cols], None),
        matmul::cpu(&weights.values, cols, span_cols, &x[..cols], None)
    );
    // Nothing but the results was written.
    assert_eq!(by_matvec[rows..], before[rows..], "matvec of {what} wrote past its row");
    for (token, (got, before)) in by_matmul.chunks(y_stride).zip(before.chunks(y_stride)).enumerate() {
        let written = if token < tokens { rows } else { 0 };
        assert_eq!(got[written..], before[written..], "matmul of {what} wrote past token {token}");
    }
}

/// Checks that weights that are widened first give `wanted` too: with room for all, for two row blocks, and for none.
fn check_widened(
    gpu: &Gpu,
    weights: &Weights,
    wanted: &[f32],
    what: &str,
    multiply: impl Fn(&WideRoom) -> Vec<f32>,
) {
    let Matrix { rows, cols } = weights.device.matrix;
    for blocks in [rows.div_ceil(64) as u64, 2, 0] {
        let bytes = WideRoom::bytes_of(gpu, weights.device.format.dtype(), cols, blocks);
        let room = WideRoom::new(gpu, bytes).unwrap();
        assert!(same_bits(wanted, &multiply(&room)), "{what}, widened {blocks} row blocks at a time");
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Whether a label has a choice of so many. One is usual, and not named.
fn has(label: &str, name: &str, count: u32) -> bool {
    if count == 1 { !label.contains(name) } else { label.contains(&format!("{name}{count}")) }
}

/// What `matvec` and `matmul` make of `tokens` tokens, whose activations are in a buffer for `usage`, with
/// the kernels that `gpu` has; and the kernels' names.
fn products(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    tokens: usize,
    usage: BufferUsages,
) -> ([Vec<f32>; 2], [String; 2]) {
    let (rows, x_stride) = (weights.matrix.rows, weights.padded_cols());
    let room = tokens.next_multiple_of(16);
    let x = normal(1, room * x_stride);
    let x = gpu.buffer_with("x", bytemuck::cast_slice(&x), usage).unwrap();
    let step = uniform(gpu, step(tokens, 0));
    let results = [false, true].map(|batch| {
        let y = storage(gpu, &vec![7f32; room * rows]);
        let product =
            Product { weights, x: &x, x_stride, y: &y, y_stride: rows, bias: None, accumulate: false };
        let dispatches = match batch {
            true => matmul::dispatches(gpu, &step, &product).unwrap(),
            false => matvec::dispatches(gpu, &product).unwrap(),
        };
        run(gpu, &dispatches, tokens);
        (read(gpu, &y, room * rows), dispatches[0].label().to_string())
    });
    let [(matvec, matvec_label), (matmul, matmul_label)] = results;
    ([matvec, matmul], [matvec_label, matmul_label])
}

/// Looks up rows of `weights`; the bits must be those that are stored.
fn check_rows(gpu: &Gpu, weights: &Weights) {
    let Matrix { rows, cols } = weights.device.matrix;
    let edges = (0..rows as u32).rev().filter(|id| [0, 31, 63].contains(&(id % 64)));
    let ids: Vec<u32> = edges.chain([rows as u32 - 1, 0, 0, rows as u32 / 2]).collect();
    let stride = cols.next_multiple_of(16);
    let y = storage(gpu, &vec![7f32; (ids.len() + 1) * stride]);
    let token_ids = storage(gpu, &ids);
    let step = uniform(gpu, step(ids.len(), 0));
    let dispatches = embed::dispatches(gpu, &step, &weights.device, &token_ids, &y, stride).unwrap();
    run(gpu, &dispatches, ids.len());
    let got = read(gpu, &y, (ids.len() + 1) * stride);
    let wanted = embed::cpu(&weights.values, cols, &ids);
    let what = format!("{:?} {rows}x{cols}", weights.device.format);
    for (i, (got, wanted)) in got.chunks(stride).zip(wanted.chunks(cols)).enumerate() {
        let same = got.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "row {} of {what}: {:?}, not {wanted:?}", ids[i], &got[..cols]);
    }
    assert!(got[ids.len() * stride..].iter().all(|&v| v == 7.0), "{what}: a token too many");
}
