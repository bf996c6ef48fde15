//! Kernels of training against their twins.

use bantam::gpu::kernels::norm;
use bantam::gpu::kernels::training::attention_weights::SeenParams;
use bantam::gpu::kernels::training::embed_rows::TableRows;
use bantam::gpu::kernels::training::head_norm_back::HeadNormBack;
use bantam::gpu::kernels::training::logit_stats::{LogitStats, NO_TARGET, VocabularyPart};
use bantam::gpu::kernels::training::multiply::{Causal, Factors, Multiply, Operand};
use bantam::gpu::kernels::training::norm_back::{NormBack, NormBackParams};
use bantam::gpu::kernels::training::rotate::RotateParams;
use bantam::gpu::kernels::training::unpack::WidePiece;
use bantam::gpu::kernels::training::updated::UpdateStep;
use bantam::gpu::kernels::training::{
    Columns, NormedHeads, add_bias, attention_weights, attention_weights_back, column_sums, embed_grad,
    embed_rows, gated, gated_back, head_norm, head_norm_back, logit_grad, logit_stats, multiply, norm_back,
    rotate, scale, unpack,
};
use bantam::gpu::{Bound, Buffer, Gpu, Target, Texel};

use crate::device;
use crate::encode::laid_out;
use crate::on_device::{EPSILON, normal, read, run, storage};

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Each element is as close as sums of `terms` products of usual numbers are, or as `relative` says.
#[track_caller]
pub fn assert_near(got: &[f32], wanted: &[f64], terms: f64, what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1e-30f64, |most, w| most.max(w.abs()));
    for (i, (&got, &wanted)) in got.iter().zip(wanted).enumerate() {
        let off = (f64::from(got) - wanted).abs();
        assert!(off <= 16.0 * EPSILON * terms * largest, "{what}, element {i}: {got}, not {wanted}");
    }
}

#[test]
fn products_are_those_of_the_twin_whatever_is_transposed() {
    let gpu = device::shared();
    for size in
        [[1, 1, 1], [5, 70, 33], [64, 64, 8], [132, 68, 200], [8, 72, 12], [260, 12, 40], [132, 28, 8]]
    {
        let [rows, cols, depth] = size;
        let (a, b) = (normal(1, rows * depth), normal(2, depth * cols));
        let before = normal(3, rows * cols);
        for (a_of, b_of) in [
            (Operand::rows(depth), Operand::rows(cols)),
            (Operand::rows(depth), Operand::rows(depth).transposed()),
            (Operand::rows(rows).transposed(), Operand::rows(cols)),
        ] {
            let with = Multiply::one(size, [a_of, b_of, Operand::rows(cols)]);
            for accumulate in [false, true] {
                let got = multiplied(&gpu, &with, accumulate, &a, &b, &before);
                let mut wanted = wide(&before);
                multiply::cpu(&with, accumulate, &wide(&a), &wide(&b), &mut wanted);
                assert_near(&got, &wanted, (depth as f64).sqrt(), &format!("{size:?} {accumulate}"));
            }
        }
    }
}

/// The product from buffers. Where there are textures and rows suit them, the product from those has the same bits.
fn multiplied(gpu: &Gpu, with: &Multiply, accumulate: bool, a: &[f32], b: &[f32], c: &[f32]) -> Vec<f32> {
    let (a, b) = (storage(gpu, a), storage(gpu, b));
    let product = |factors: Factors<'_>| {
        let of_c = storage(gpu, c);
        let dispatch = multiply::dispatch(gpu, with, accumulate, factors, &of_c).unwrap();
        run(gpu, &[dispatch], 1);
        read(gpu, &of_c, c.len())
    };
    let wanted = product(Factors::Buffers([&a, &b]));
    if gpu.target() == Target::Llvmpipe && with.suits_textures() {
        let textures = [&a, &b].map(|buffer| {
            let texture = gpu.texture("factor", buffer.size().next_multiple_of(16), Texel::Vector).unwrap();
            let bytes = buffer.size() / 16 * 16;
            gpu.submit("copy", |encoder| texture.record_copy(encoder, buffer.raw(), 0, bytes)).unwrap();
            texture
        });
        let got = product(Factors::Textures([&textures[0], &textures[1]]));
        let is_same = got.iter().zip(&wanted).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
        assert!(is_same, "{with:?}");
    }
    wanted
}

/// A sum over columns does not depend on how they are divided among dispatches.
#[test]
fn a_sum_goes_on_bit_for_bit() {
    let gpu = device::shared();
    let (rows, cols, depth) = (20, 30, 157);
    let (a, b) = (normal(1, rows * depth), normal(2, depth * cols));
    let none = vec![0f32; rows * cols];
    let all =
        Multiply::one([rows, cols, depth], [Operand::rows(depth), Operand::rows(cols), Operand::rows(cols)]);
    let wanted = multiplied(&gpu, &all, false, &a, &b, &none);
    for cut in [1, 64, 100] {
        let [of_a, of_b, of_c] = all.operands;
        let first = Multiply { size: [rows, cols, cut], ..all };
        let operands = [of_a.at(cut), of_b.at(cut * cols), of_c];
        let second = Multiply { size: [rows, cols, depth - cut], operands, ..all };
        let got = multiplied(&gpu, &first, false, &a, &b, &none);
        let got = multiplied(&gpu, &second, true, &a, &b, &got);
        assert!(got.iter().zip(&wanted).all(|(a, b)| a.to_bits() == b.to_bits()), "{cut}");
    }
}

/// Sequences, heads, and heads that share keys, as the trainer's attention has them.
#[test]
fn attentions_products_are_those_of_the_twin() {
    let gpu = device::shared();
    let (sequences, heads, shared, dim) = (2, 4, 2, 4);
    for length in [3, 68, 132, 260] {
        let stride = 40;
        let x = normal(1, sequences * length * stride);
        let scores = normal(2, sequences * heads * length * length);
        let rows = Operand::rows(stride).each_sequence(length * stride);
        let all = length * length;
        let square = Operand::rows(length).each_sequence(heads * all).each_head(all, 1);
        let queries = rows.each_head(dim, 1);
        let keys = rows.at(heads * dim).each_head(dim, shared);
        let products = [sequences, heads];
        let none = vec![0f32; sequences * length * stride];

        // What lies above the diagonal may be anything.
        let with = Multiply {
            products,
            causal: Causal::LowerResult,
            ..Multiply::one([length, length, dim], [queries, keys.transposed(), square])
        };
        let got = multiplied(&gpu, &with, false, &x, &x, &scores);
        let mut wanted = wide(&scores);
        multiply::cpu(&with, false, &wide(&x), &wide(&x), &mut wanted);
        let below = |i: &usize| i % length <= i / length % length;
        let lower = |all: Vec<f64>| -> Vec<f64> { (0..all.len()).filter(below).map(|i| all[i]).collect() };
        let got: Vec<f32> = lower(wide(&got)).into_iter().map(|v| v as f32).collect();
        assert_near(&got, &lower(wanted), 4.0, &format!("scores {length}"));

        // Zeros are where the factor says that they are.
        let zeroed: Vec<f32> = (0..scores.len()).map(|i| if below(&i) { scores[i] } else { 0.0 }).collect();
        let gather = Multiply {
            products,
            causal: Causal::LowerFactor,
            ..Multiply::one([length, dim, length], [square, keys, queries])
        };
        let by_keys = Multiply {
            products: [sequences, heads / shared],
            causal: Causal::UpperFactor,
            terms: shared,
            ..Multiply::one(
                [length, dim, length],
                [
                    square.transposed().each_head(shared * all, 1).each_term(all),
                    queries.each_head(shared * dim, 1).each_term(dim),
                    keys.each_head(dim, 1),
                ],
            )
        };
        for with in [gather, by_keys] {
            let got = multiplied(&gpu, &with, false, &zeroed, &x, &none);
            let mut wanted = wide(&none);
            multiply::cpu(&with, false, &wide(&zeroed), &wide(&x), &mut wanted);
            assert_near(&got, &wanted, 2.0 * (length as f64).sqrt(), &format!("{:?} {length}", with.causal));
        }
    }
}

#[test]
fn rotations_are_undone_by_those_the_other_way() {
    let gpu = device::shared();
    let (length, tokens, stride, half) = (5, 15, 50, 6);
    let params =
        RotateParams { heads: 3, half_dim: half as u32, stride: stride as u32, length: length as u32 };
    let rotations: Vec<[f32; 2]> = (0..length * half).map(|i| (i as f32 * 0.3).sin_cos().into()).collect();
    let twin: Vec<[f64; 2]> = rotations.iter().map(|pair| pair.map(f64::from)).collect();
    let x = normal(1, tokens * stride);
    let (buffer, table) = (storage(&gpu, &x), storage(&gpu, &rotations));
    let mut wanted = wide(&x);
    for back in [false, true] {
        let dispatch = rotate::dispatch(&gpu, &params, tokens, back, [&table, &buffer]).unwrap();
        run(&gpu, &[dispatch], 1);
        rotate::cpu(&params, back, &twin, &mut wanted);
        assert_near(&read(&gpu, &buffer, x.len()), &wanted, 2.0, &format!("{back}"));
    }
    assert_near(&x, &wanted, 2.0, "there and back");
}

#[test]
fn attentions_weights_and_their_gradients_are_those_of_the_twin() {
    let gpu = device::shared();
    for (length, row, window) in [(1, 1, u32::MAX), (7, 9, 3), (130, 130, u32::MAX), (130, 192, 65)] {
        let products = 3;
        let params = SeenParams { length, row, product: length * row, window, scale: 0.3, unused: [0; 3] };
        let count = products * (length * row) as usize;
        // Scores of keys that are not seen may not be numbers.
        let mut scores = normal(1, count);
        for (i, score) in scores.iter_mut().enumerate() {
            if i as u32 % row > i as u32 / row % length {
                *score = f32::NAN;
            }
        }
        let buffer = storage(&gpu, &scores);
        run(&gpu, &[attention_weights::dispatch(&gpu, &params, products, &buffer).unwrap()], 1);
        let got = read(&gpu, &buffer, count);
        let mut wanted = wide(&scores);
        attention_weights::cpu(&params, &mut wanted);
        assert_near(&got, &wanted, 20.0, &format!("weights {length} {window}"));

        let grads = normal(2, count);
        let of_weights = storage(&gpu, &grads);
        let with = [&buffer, &of_weights];
        run(&gpu, &[attention_weights_back::dispatch(&gpu, &params, products, with).unwrap()], 1);
        let mut of_scores = wide(&grads);
        attention_weights_back::cpu(&params, &wide(&got), &mut of_scores);
        assert_near(
            &read(&gpu, &of_weights, count),
            &of_scores,
            20.0,
            &format!("gradients {length} {window}"),
        );
    }
}

#[test]
fn gated_products_and_their_gradients_are_those_of_the_twin() {
    let gpu = device::shared();
    for count in [1, 64, 20_000] {
        let gate: Vec<f32> = normal(1, count).into_iter().map(|g| 4.0 * g).collect();
        let (up, grad) = (normal(2, count), normal(3, count));
        let [of_gate, of_up, of_grad] = [&gate, &up, &grad].map(|values| storage(&gpu, values));
        let y = storage(&gpu, &vec![7f32; count]);
        run(&gpu, &[gated::dispatch(&gpu, count, [&of_gate, &of_up, &y]).unwrap()], 1);
        assert_near(&read(&gpu, &y, count), &gated::cpu(&wide(&gate), &wide(&up)), 20.0, "y");
        run(&gpu, &[gated_back::dispatch(&gpu, count, [&of_grad, &of_gate, &of_up]).unwrap()], 1);
        let (mut gate, mut up) = (wide(&gate), wide(&up));
        gated_back::cpu(&wide(&grad), &mut gate, &mut up);
        assert_near(&read(&gpu, &of_gate, count), &gate, 20.0, "gate");
        assert_near(&read(&gpu, &of_up, count), &up, 20.0, "up");
    }
}

#[test]
fn norms_gradients_are_those_of_the_twin() {
    let gpu = device::shared();
    for (len, stride, tokens) in [(1, 1, 1), (50, 64, 3), (300, 320, 17)] {
        let (x, y_grad, before) =
            (normal(1, tokens * stride), normal(2, tokens * stride), normal(3, tokens * stride));
        let weight = normal(4, len);
        let params = NormBackParams { len: len as u32, stride: stride as u32, epsilon: 1e-5, unused: 0 };
        let [of_x, of_y, of_grad] = [&x, &y_grad, &before].map(|values| storage(&gpu, values));
        let (of_weight, scales) = (storage(&gpu, &weight), storage(&gpu, &vec![0f32; tokens]));
        let sums = storage(&gpu, &vec![0f32; len]);
        let with =
            NormBack { x: &of_x, weight: &of_weight, y_grad: &of_y, x_grad: &of_grad, scales: &scales };
        let columns = Columns { columns: len as u32, tokens: tokens as u32, stride: stride as u32, first: 0 };
        run(
            &gpu,
            &[
                norm_back::dispatch(&gpu, &params, tokens, &with).unwrap(),
                column_sums::dispatch(&gpu, &columns, [&of_y, &sums], Some([&of_x, &scales])).unwrap(),
            ],
            1,
        );
        let got = read(&gpu, &of_grad, tokens * stride);
        let mut of_tokens = Vec::new();
        for t in 0..tokens {
            let token = |values: &[f32]| wide(&values[t * stride..][..len]);
            let mut wanted = token(&before);
            let epsilon = f64::from(1e-5f32);
            of_tokens.push(norm_back::cpu(&token(&x), &wide(&weight), epsilon, &token(&y_grad), &mut wanted));
            assert_near(&got[t * stride..][..len], &wanted, 20.0, &format!("{len} {t}"));
            // The scale is that of the norm itself.
            let normed = norm::cpu_wide(&token(&x), &vec![1.0; len], epsilon);
            assert!((normed[0] - token(&x)[0] * of_tokens[t]).abs() < 1e-12);
        }
        let wanted = column_sums::cpu(&columns, &wide(&y_grad), Some([&wide(&x), &of_tokens]));
        assert_near(&read(&gpu, &sums, len), &wanted, 20.0, &format!("weight {len}"));
    }
}

#[test]
fn norms_of_heads_and_their_gradients_are_those_of_the_twin() {
    let gpu = device::shared();
    for (heads, dim, tokens) in [(1, 1, 1), (3, 14, 9), (2, 70, 5)] {
        // Behind the heads there are others, and after the norm more of them.
        let (first, x_stride, y_stride) = (dim, (heads + 2) * dim, (heads + 4) * dim);
        let params = NormedHeads {
            heads: heads as u32,
            dim: dim as u32,
            x_stride: x_stride as u32,
            y_stride: y_stride as u32,
            first: first as u32,
            epsilon: 1e-5,
            unused: [0; 2],
        };
        let (x, y, weight) = (normal(1, tokens * x_stride), normal(2, tokens * y_stride), normal(3, dim));
        let [of_x, of_y, of_grads, of_weight] = [&x, &y, &y, &weight].map(|values| storage(&gpu, values));
        let of_sums = storage(&gpu, &vec![7f32; tokens * dim]);
        let back = HeadNormBack { x: &of_x, weight: &of_weight, grads: &of_grads, sums: &of_sums };
        run(
            &gpu,
            &[
                head_norm::dispatch(&gpu, &params, tokens, [&of_x, &of_weight, &of_y]).unwrap(),
                head_norm_back::dispatch(&gpu, &params, tokens, &back).unwrap(),
            ],
            1,
        );
        let (mut normed, mut grads) = (wide(&y), wide(&y));
        head_norm::cpu(&params, &wide(&x), &wide(&weight), &mut normed);
        let sums = head_norm_back::cpu(&params, &wide(&x), &wide(&weight), &mut grads);
        assert!(normed[..first] == wide(&y)[..first] && normed[first] != f64::from(y[first]));
        let what = format!("{heads} heads of {dim}");
        assert_near(&read(&gpu, &of_y, tokens * y_stride), &normed, 20.0, &what);
        assert_near(&read(&gpu, &of_grads, tokens * y_stride), &grads, 40.0, &what);
        assert_near(&read(&gpu, &of_sums, tokens * dim), &sums, 40.0, &what);
    }
}

#[test]
fn biases_are_added_and_added_up_where_they_are() {
    let gpu = device::shared();
    let (tokens, stride) = (9, 100);
    let columns = Columns { columns: 70, tokens, stride: stride as u32, first: 20 };
    let (x, bias) = (normal(1, tokens as usize * stride), normal(2, 70));
    let [of_x, of_bias, sums] = [&x, &bias, &vec![0f32; 70]].map(|values| storage(&gpu, values));
    run(
        &gpu,
        &[
            column_sums::dispatch(&gpu, &columns, [&of_x, &sums], None).unwrap(),
            add_bias::dispatch(&gpu, &columns, [&of_bias, &of_x]).unwrap(),
        ],
        1,
    );
    let mut wanted = wide(&x);
    assert_near(&read(&gpu, &sums, 70), &column_sums::cpu(&columns, &wanted, None), 4.0, "sums");
    add_bias::cpu(&columns, &wide(&bias), &mut wanted);
    assert_near(&read(&gpu, &of_x, x.len()), &wanted, 1.0, "added");
}

/// The loss and its gradients, whatever parts the vocabulary is cut into.
#[test]
fn losses_and_their_gradients_are_those_of_the_twin() {
    let gpu = device::shared();
    let (tokens, vocab) = (6, 333);
    let logits: Vec<f32> = normal(1, tokens * vocab).into_iter().map(|l| 5.0 * l).collect();
    let targets = [0, 332, NO_TARGET, 100, 101, 7u32];
    let of_targets = storage(&gpu, &targets);
    let step = UpdateStep { loss_scale: 0.2, ..bytemuck::Zeroable::zeroed() };
    let of_step = gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
    let stats = storage(&gpu, &vec![f32::NAN; 4 * tokens]);
    let running = storage(&gpu, &vec![f32::NAN; 128 * tokens]);
    let mut of_whole: Option<Vec<LogitStats>> = None;
    for cut in [333, 128, 64] {
        let parts: Vec<(VocabularyPart, Buffer)> = (0..vocab)
            .step_by(cut)
            .map(|first| {
                let rows = cut.min(vocab - first);
                let part = logits.chunks(vocab).flat_map(|token| &token[first..][..rows]).copied();
                let params =
                    VocabularyPart { first: first as u32, rows: rows as u32, stride: rows as u32, unused: 0 };
                (params, storage(&gpu, &part.collect::<Vec<f32>>()))
            })
            .collect();
        for (params, part) in &parts {
            run(
                &gpu,
                &[logit_stats::dispatch(&gpu, params, tokens, [part, &of_targets, &stats, &running])
                    .unwrap()],
                1,
            );
        }
        let got: Vec<LogitStats> =
            bytemuck::cast_vec(read(&gpu, &stats, 4 * tokens).as_chunks::<4>().0.to_vec());
        // The bits do not depend on the parts.
        assert_eq!(*of_whole.get_or_insert_with(|| got.clone()), got, "{cut}");
        for (params, part) in &parts {
            let with = [&of_targets, &stats, part];
            run(&gpu, &[logit_grad::dispatch(&gpu, &of_step, params, tokens, with).unwrap()], 1);
        }
        for (t, (token, &target)) in logits.chunks(vocab).zip(&targets).enumerate() {
            let mut wanted = wide(token);
            let of_twin = logit_stats::cpu(&wanted, target);
            if target != NO_TARGET {
                assert!((got[t].loss() - of_twin.loss()).abs() < 1e-5, "{cut} {t}");
            }
            logit_grad::cpu(&mut wanted, target, &of_twin, f64::from(0.2f32));
            for (params, part) in &parts {
                let rows = params.rows as usize;
                let all = read(&gpu, part, tokens * rows);
                let wanted = &wanted[params.first as usize..][..rows];
                for (got, wanted) in all[t * rows..][..rows].iter().zip(wanted) {
                    assert!((f64::from(*got) - wanted).abs() < 1e-6, "{cut} {t}: {got} {wanted}");
                }
            }
        }
    }
}

#[test]
fn logits_that_are_not_finite_are_counted() {
    let gpu = device::shared();
    let mut logits = vec![1f32; 2 * 70];
    (logits[3], logits[69]) = (f32::NAN, f32::INFINITY);
    let of_targets = storage(&gpu, &[0u32, 0]);
    let stats = storage(&gpu, &[0f32; 8]);
    let running = storage(&gpu, &[0f32; 256]);
    let params = VocabularyPart { first: 0, rows: 70, stride: 70, unused: 0 };
    let part = storage(&gpu, &logits);
    run(&gpu, &[logit_stats::dispatch(&gpu, &params, 2, [&part, &of_targets, &stats, &running]).unwrap()], 1);
    let got: Vec<LogitStats> = bytemuck::cast_vec(read(&gpu, &stats, 8).as_chunks::<4>().0.to_vec());
    assert_eq!(got.iter().map(|s| s.not_finite).collect::<Vec<_>>(), [2.0, 0.0]);
    assert!(got[0].loss().is_nan() && got[1].loss().is_finite());
}

/// Rows that are there are looked up and given gradients, piece by piece.
#[test]
fn rows_of_an_embedding_and_their_gradients_are_those_of_the_twin() {
    let gpu = device::shared();
    let (vocab, columns, stride) = (150, 70, 96);
    let ids = [3, 149, 3, 0, 64, 3, 100u32];
    let (table, x_grad) = (normal(1, vocab * columns), normal(2, ids.len() * stride));
    let whole = TableRows { first: 0, count: vocab as u32, columns: columns as u32, stride: stride as u32 };
    let (starts, places) = embed_grad::tokens_by_row(&ids, vocab);
    let [of_ids, starts, places] = [&ids[..], &starts, &places].map(|values| storage(&gpu, values));
    let of_grad = storage(&gpu, &x_grad);
    let x = storage(&gpu, &vec![0f32; ids.len() * stride]);
    let mut wanted_grads = vec![0.0; vocab * columns];
    embed_grad::cpu(&whole, &ids, &wide(&x_grad), &mut wanted_grads);
    for first in [0, 64, 128] {
        let count = 64.min(vocab - first);
        let params = TableRows { first: first as u32, count: count as u32, ..whole };
        let rows = storage(&gpu, &table[first * columns..][..count * columns]);
        run(&gpu, &[embed_rows::dispatch(&gpu, &params, ids.len(), [&of_ids, &rows, &x]).unwrap()], 1);
        for accumulate in [false, true] {
            let before = normal(3, count * columns);
            let grads = storage(&gpu, &before);
            let with = [&starts, &places, &of_grad, &grads];
            run(&gpu, &[embed_grad::dispatch(&gpu, &params, ids.len(), accumulate, with).unwrap()], 1);
            let mut wanted = wanted_grads[first * columns..][..count * columns].to_vec();
            if accumulate {
                wanted.iter_mut().zip(&before).for_each(|(w, &b)| *w += f64::from(b));
            }
            assert_near(&read(&gpu, &grads, before.len()), &wanted, 2.0, &format!("{first} {accumulate}"));
        }
    }
    let wanted = embed_rows::cpu(&whole, &ids, &wide(&table));
    assert_near(&read(&gpu, &x, ids.len() * stride), &wanted, 0.0, "looked up");
}

#[test]
fn every_bf16_is_unpacked_as_it_is() {
    let gpu = device::shared();
    for (rows, columns) in [(1, 1), (70, 33), (256, 256)] {
        let bits: Vec<u16> = (0..rows * columns).map(|i| i as u16).collect();
        let words = laid_out(&bits, columns);
        let params = WidePiece {
            rows: rows as u32,
            columns: columns as u32,
            first_row: 0,
            tensor: 0,
            words_at: 0,
            unused: [0; 3],
        };
        let (of_words, unpacked) = (storage(&gpu, &words), storage(&gpu, &vec![7f32; rows * columns]));
        run(&gpu, &[unpack::dispatch(&gpu, &params, Bound::from(&of_words), &unpacked).unwrap()], 1);
        let is_wanted = |(got, &bits): (&f32, &u16)| got.to_bits() == u32::from(bits) << 16;
        assert!(read(&gpu, &unpacked, bits.len()).iter().zip(&bits).all(is_wanted), "{rows} x {columns}");
        assert!(unpack::cpu(&params, &words).iter().zip(&bits).all(is_wanted));
    }
}

#[test]
fn numbers_are_scaled_where_they_are() {
    let gpu = device::shared();
    for count in [1, 64, 20_000] {
        let x = normal(1, count);
        let buffer = storage(&gpu, &x);
        run(&gpu, &[scale::dispatch(&gpu, count, 1.7, &buffer).unwrap()], 1);
        let mut wanted = wide(&x);
        scale::cpu(&mut wanted, f64::from(1.7f32));
        assert_near(&read(&gpu, &buffer, count), &wanted, 1.0, &format!("{count}"));
    }
}
