//! Matrices that one dispatch multiplies.

use bantam::codec::Payload;
use bantam::gpu::kernels::swiglu::SwigluParams;
use bantam::gpu::kernels::{matvec, swiglu};
use bantam::gpu::weights::{DeviceMatrix, Join, Tiles, TilesKey};
use bantam::gpu::{Gpu, Invocations, KernelChoices, Target, Transcoded, Uploader};
use bantam::tensor::{Dtype, Matrix};
use wgpu::BufferUsages;

use super::forms::{Form, Weights, weights};
use super::{product_tolerance, products, same_bits};
use crate::device;
use crate::on_device::{EPSILON, assert_close, normal, read, run, step, storage, uniform};

/// Matrices of so many rows and 800 columns in `form`, joined.
fn joined(gpu: &Gpu, form: Form, rows: &[usize], join: Join) -> (DeviceMatrix, Vec<Weights>) {
    let cols = 800;
    let apart: Vec<Weights> = rows.iter().map(|&rows| weights(gpu, form, rows, cols).unwrap()).collect();
    let bytes: Vec<Vec<u8>> = rows.iter().map(|&rows| form.bytes(rows, cols)).collect();
    let payloads: Vec<Vec<u8>> =
        rows.iter().zip(&bytes).filter_map(|(&rows, bytes)| form.payload(rows, cols, bytes)).collect();
    let payloads: Vec<Payload<'_>> =
        payloads.iter().map(|payload| Payload::parse(payload).unwrap()).collect();
    let first_row = |i: usize| if join == Join::Stacked { rows[..i].iter().sum() } else { 0 };
    let mut uploader = Uploader::new(gpu).unwrap();
    let joined = match form {
        Form::Raw(dtype) => {
            let matrices: Vec<_> =
                rows.iter().enumerate().map(|(i, &rows)| (Matrix { rows, cols }, first_row(i))).collect();
            let joined = DeviceMatrix::raw_joined(gpu, "joined", dtype, &matrices, join).unwrap().unwrap();
            let row_block = 64 * cols * dtype.bitsize() / 8;
            for (i, rows) in bytes.iter().flat_map(|bytes| bytes.chunks(row_block)).enumerate() {
                pollster::block_on(joined.write_raw(&mut uploader, i, rows)).unwrap();
            }
            joined
        }
        Form::Transcoded { to, .. } => {
            let upload = |payload| {
                let dense = DeviceMatrix::upload_tiled(gpu, &mut uploader, "dense", payload);
                pollster::block_on(dense).unwrap().unwrap()
            };
            let dense: Vec<DeviceMatrix> = payloads.iter().map(upload).collect();
            let dense = dense.into_iter().enumerate().map(|(i, dense)| (dense, first_row(i))).collect();
            let made = DeviceMatrix::into_transcoded_joined(gpu, &mut uploader, "joined", dense, join, to);
            let mut made = pollster::block_on(made).unwrap();
            assert_eq!(made.len(), 1, "{form:?}");
            made.remove(0)
        }
        _ => {
            let tiles: Vec<_> = payloads
                .iter()
                .map(|payload| Tiles::for_products(payload.head(), payload.precision()).unwrap())
                .enumerate()
                .map(|(i, tiles)| (tiles, first_row(i)))
                .collect();
            let key = |i: usize| TilesKey::of(gpu, &tiles[i].0);
            assert!((0..tiles.len()).all(|i| key(i) == key(0)), "{form:?}");
            let joined = DeviceMatrix::dense_joined(gpu, "joined", &tiles, join, None).unwrap();
            let (joined, pieces) = joined.unwrap();
            for (payload, pieces) in payloads.iter().zip(pieces) {
                for piece in pieces {
                    let write =
                        uploader.write(&joined.parts[0].payload, piece.at, &payload.bytes()[piece.payload]);
                    pollster::block_on(write).unwrap();
                }
            }
            joined
        }
    };
    (joined, apart)
}

/// Forms of which several can be joined, with and without tiles that reach across spans.
fn joinable() -> [Form; 6] {
    [
        Form::Raw(Dtype::BF16),
        Form::Raw(Dtype::F32),
        Form::Bf16 { top_bits: 2 },
        Form::Transcoded { to: Transcoded::Fast, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Transcoded { to: Transcoded::Tiered, octaves: 6, any_bits: 500, zeros: 0 },
        Form::Rounded { dtype: Dtype::BF16, bits: 3, block: 512 },
    ]
}

/// Those of `invocations` that the driver's compiler gets done with, whatever kind of device kernels are chosen for.
pub(super) fn those_that_compile(gpu: &Gpu, invocations: &[Invocations]) -> Vec<Invocations> {
    let driver = Target::of(&gpu.device().adapter_info());
    let all: Vec<_> = invocations.iter().copied().filter(|&one| driver.compiles(one)).collect();
    assert!(!all.is_empty());
    all
}

#[test]
fn products_of_stacked_matrices_are_those_of_each() {
    let gpu = device::shared();
    for form in joinable() {
        let rows = [130, 100, 70];
        let (joined, apart) = joined(&gpu, form, &rows, Join::Stacked);
        assert_eq!(joined.matrix, Matrix { rows: 300, cols: 800 });
        for invocations in those_that_compile(&gpu, &[Invocations::TWO_ROWS_EACH, Invocations::FOUR_A_ROW]) {
            let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
            let (together, _) = products(&gpu, &joined, 19, BufferUsages::STORAGE);
            let mut first = 0;
            for weights in &apart {
                let (alone, _) = products(&gpu, &weights.device, 19, BufferUsages::STORAGE);
                let rows = weights.device.matrix.rows;
                for (what, together, alone, tokens) in
                    [("matvec", &together[0], &alone[0], 1), ("matmul", &together[1], &alone[1], 19)]
                {
                    for token in 0..tokens {
                        let together = &together[token * 300 + first..][..rows];
                        let alone = &alone[token * rows..][..rows];
                        let what = format!("{what}, {form:?}, {invocations} invocations, token {token}");
                        assert!(same_bits(together, alone), "{what}");
                    }
                }
                first += rows;
            }
        }
    }
}

#[test]
fn gated_products_are_those_of_the_twin_and_of_two_with_what_joins_them() {
    let gpu = device::shared();
    let tokens = 19;
    for form in joinable() {
        let (joined, apart) = joined(&gpu, form, &[130, 130], Join::Gated);
        let [gate, up] = &apart[..] else { panic!("two") };
        for invocations in those_that_compile(&gpu, &[Invocations::TWO_ROWS_EACH, Invocations::FOUR_A_ROW]) {
            let gpu = gpu.with_choices(KernelChoices::with_invocations(invocations));
            let what = format!("{form:?}, {invocations} invocations");
            let (gated, labels) = products(&gpu, &joined, tokens, BufferUsages::STORAGE);
            assert!(labels.iter().all(|label| label.contains("gated")), "{labels:?}");
            let [gates, ups] =
                [gate, up].map(|one| products(&gpu, &one.device, tokens, BufferUsages::STORAGE).0);
            for (batch, tokens) in [(0, 1), (1, tokens)] {
                let params = SwigluParams { len: 130, stride: 130, zeros: [0; 2] };
                let step = uniform(&gpu, step(tokens, 0));
                let [y, ups] = [&gates[batch], &ups[batch]].map(|values| storage(&gpu, values));
                run(&gpu, &[swiglu::dispatch(&gpu, &step, &params, [&y, &ups]).unwrap()], tokens);
                let expected = read(&gpu, &y, 130 * tokens);
                assert!(same_bits(&gated[batch][..130 * tokens], &expected), "{what}, {tokens} tokens");
            }
            // The activations are those of `products`.
            let x = &normal(1, tokens.next_multiple_of(16) * joined.padded_cols())[..800];
            let twin = matvec::cpu_gated([&gate.values, &up.values], joined.span_cols(), x);
            let [g, u] = [gate, up].map(|one| matvec::cpu(&one.values, joined.span_cols(), x, None));
            let tolerance = |row: usize| {
                let [of_gate, of_up] = [gate, up].map(|one| product_tolerance(one, x, 0.0, row));
                // What is off in either factor, and a few roundings of their own; exp and the division may be
                // off by more than a rounding.
                2.0 * (of_gate * f64::from(u[row].abs()) + of_up * f64::from(g[row].abs()))
                    + 128.0 * EPSILON * f64::from(twin[row].abs())
            };
            assert_close(&gated[0][..130], &twin, tolerance, &what);
        }
    }
}
