//! What optimizers make of weights.

use bantam::gpu::kernels::training::adalomo::factors::{self, Factors};
use bantam::gpu::kernels::training::adalomo::vector::{self, VectorChange};
use bantam::gpu::kernels::training::adalomo::{change, limit};
use bantam::gpu::kernels::training::unpack::{self, WidePiece};
use bantam::gpu::kernels::training::update::{self, MomentBuffers, Update};
use bantam::gpu::kernels::training::update_vector::{self, UpdateVector, VectorParams};
use bantam::gpu::kernels::training::updated::{
    self, BAD_GRADIENT, BAD_WEIGHT, Moments, Rounded, UpdateRule, UpdateStep,
};
use bantam::gpu::kernels::training::{MatrixPart, square_columns, square_rows};
use bantam::gpu::{Bound, Buffer, Gpu};
use half::bf16;

use crate::device;
use crate::encode::laid_out;
use crate::on_device::{normal, read, run, storage};
use crate::training::{assert_near, wide};

fn step_of(moments: Moments) -> UpdateStep {
    let has_moments = moments != Moments::No;
    UpdateStep {
        learning_rate: 0.01,
        weight_decay: if has_moments { 0.1 } else { 0.0 },
        beta1: 0.9,
        beta2: 0.999,
        correction1: 1.0 - 0.9f32.powi(3),
        correction2: 1.0 - 0.999f32.powi(3),
        epsilon: 1e-8,
        loss_scale: 1.0,
        seed: 5,
        step: 3,
        clip: if has_moments { 1.5 } else { f32::MAX },
        unused: 0,
    }
}

/// What optimizers are tried with: weights as BF16, gradients of which some are bad, and moments.
struct Weights {
    bits: Vec<u16>,
    grads: Vec<f32>,
    moments: Vec<[f32; 2]>,
}

impl Weights {
    fn new(count: usize) -> Self {
        let bits = normal(1, count).iter().map(|&w| bf16::from_f32(w).to_bits()).collect();
        let mut grads = normal(2, count);
        (grads[5], grads[6], grads[7]) = (f32::NAN, f32::INFINITY, -3e38);
        // They are BF16, so that they may be stored as such.
        let bf16 = |x: f32| bf16::from_f32(x).to_f32();
        let moments =
            normal(3, 2 * count).as_chunks().0.iter().map(|&[a, b]| [bf16(a), bf16(b * b)]).collect();
        Self { bits, grads, moments }
    }

    /// A step, in which some weights overflow if there are no moments.
    fn step(moments: Moments) -> UpdateStep {
        let step = step_of(moments);
        UpdateStep { learning_rate: if moments == Moments::No { 10.0 } else { 0.01 }, ..step }
    }

    /// Compares weights, in words, and moments with those of the twin. The twin's status.
    fn compare(
        &self,
        rule: UpdateRule,
        got: &[u32],
        moments: &[f32],
        place: impl Fn(usize) -> [u32; 3],
    ) -> u32 {
        let (step, mut flags) = (Self::step(rule.moments), 0);
        for (i, &got) in got.iter().enumerate() {
            let mut own = self.moments[i];
            if rule.moments == Moments::Bf16 {
                own[1] *= own[1];
            }
            let has_moments = rule.moments != Moments::No;
            let with = has_moments.then_some(&mut own);
            let bits = u32::from(self.bits[i]) << 16;
            let (wanted, flag) = updated::cpu(bits, self.grads[i], with, &step, rule.rounded, place(i));
            flags |= flag;
            // SGD without decay is one `fma`, whose bits are those of the twin. With moments, the device's quotients and
            // roots are rounded otherwise; and F32 shows whether its `fma` rounds twice.
            let is_near = got == wanted
                || match rule.rounded {
                    Rounded::No => {
                        let size = f32::from_bits(bits).abs() + step.learning_rate * self.grads[i].abs();
                        (f32::from_bits(got) - f32::from_bits(wanted)).abs() <= 1e-6 * (1.0 + size)
                    }
                    _ => has_moments && got.abs_diff(wanted) <= 1 << 16,
                };
            assert!(is_near, "{rule:?} {i}: {got:x} {wanted:x}");
            // What is added may cancel. A BF16 may be the next one.
            let size = self.moments[i][0].abs() + self.moments[i][1] + self.grads[i].abs();
            let (wanted, most) = match rule.moments {
                Moments::Bf16 => (updated::rounded_moments(own, &step, rule.rounded, place(i)), 1.0 / 128.0),
                _ => (own, 0.0),
            };
            for (got, wanted) in moments[2 * i..][..2].iter().zip(wanted) {
                let is_near = (got - wanted).abs() <= 1e-6 * (wanted.abs() + size) + most * wanted.abs();
                assert!(!has_moments || is_near || !size.is_finite(), "{rule:?} {i}: {got} {wanted}");
            }
        }
        flags
    }
}

#[test]
fn matrices_are_updated_and_rounded_as_the_twin_does_it() {
    let gpu = device::shared();
    let (rows, cols, first_row) = (70, 45, 128);
    let weights = Weights::new(rows * cols);
    for rule in UpdateRule::of_matrices() {
        let step = Weights::step(rule.moments);
        let of_step =
            gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
        let (rows, columns) = (rows as u32, cols as u32);
        let params = WidePiece { rows, columns, first_row, tensor: 9, words_at: 0, unused: [0; 3] };
        let words = laid_out(&weights.bits, cols);
        let [of_words, of_grads] = [storage(&gpu, &words), storage(&gpu, &weights.grads)];
        let moments = storage(&gpu, &weights.moments);
        let words_of = |which: usize| {
            let bits: Vec<u16> =
                weights.moments.iter().map(|moments| bf16::from_f32(moments[which]).to_bits()).collect();
            storage(&gpu, &laid_out(&bits, cols))
        };
        let in_words = [words_of(0), words_of(1)];
        let status = storage(&gpu, &[0u32]);
        let with = Update {
            step: &of_step,
            grads: &of_grads,
            words: Bound::from(&of_words),
            moments: match rule.moments {
                Moments::No => MomentBuffers::No,
                Moments::F32 => MomentBuffers::F32(&moments),
                Moments::Bf16 => MomentBuffers::Bf16(in_words.each_ref().map(Bound::from)),
            },
            status: &status,
        };
        run(&gpu, &[update::dispatch(&gpu, &params, rule.rounded, &with).unwrap()], 1);
        let unpacked = |buffer: &Buffer| -> Vec<f32> {
            let got: Vec<u32> = read(&gpu, buffer, words.len()).iter().map(|word| word.to_bits()).collect();
            unpack::cpu(&params, &got)
        };
        let got: Vec<u32> = unpacked(&of_words).iter().map(|weight| weight.to_bits()).collect();
        let moments = match rule.moments {
            Moments::Bf16 => {
                let [first, second] = in_words.each_ref().map(unpacked);
                first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect()
            }
            _ => read(&gpu, &moments, 2 * got.len()),
        };
        let place = |i: usize| [9, first_row + (i / cols) as u32, (i % cols) as u32];
        let flags = weights.compare(rule, &got, &moments, place);
        assert_eq!(read(&gpu, &status, 1)[0].to_bits(), flags);
        let bad_weight = if rule.moments == Moments::No { BAD_WEIGHT } else { 0 };
        assert_eq!(flags, BAD_GRADIENT | bad_weight);
    }
}

#[test]
fn vectors_are_updated_and_rounded_as_the_twin_does_it() {
    let gpu = device::shared();
    let weights = Weights::new(3150);
    let count = weights.bits.len();
    let wide: Vec<u32> = weights.bits.iter().map(|&bits| u32::from(bits) << 16).collect();
    for rule in UpdateRule::of_vectors() {
        let step = Weights::step(rule.moments);
        let of_step =
            gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
        let [of_weights, of_grads] = [storage(&gpu, &wide), storage(&gpu, &weights.grads)];
        let (moments, status) = (storage(&gpu, &weights.moments), storage(&gpu, &[0u32]));
        let with = UpdateVector {
            step: &of_step,
            grads: &of_grads,
            weights: &of_weights,
            moments: (rule.moments != Moments::No).then_some(&moments),
            status: &status,
        };
        let params = VectorParams { count: count as u32, tensor: 9, unused: [0; 2] };
        run(&gpu, &[update_vector::dispatch(&gpu, &params, rule.rounded, &with).unwrap()], 1);
        let got: Vec<u32> = read(&gpu, &of_weights, count).iter().map(|weight| weight.to_bits()).collect();
        // A vector is row 0 of its tensor.
        let flags = weights.compare(rule, &got, &read(&gpu, &moments, 2 * count), |i| [9, 0, i as u32]);
        assert_eq!(read(&gpu, &status, 1)[0].to_bits(), flags);
    }
}

/// On the average, what is rounded at random is what was to be rounded.
#[test]
fn stochastic_rounding_is_unbiased() {
    for number in [1.0f32 + 1.0 / 1024.0, -3.3, 1e-20, 65_432.1] {
        let count = 40_000u32;
        let mut sum = 0.0;
        for step in 0..count {
            let step = UpdateStep { step, ..step_of(Moments::No) };
            sum += f64::from(f32::from_bits(updated::rounded(number, &step, Rounded::Stochastic, [1, 2, 3])));
        }
        let off = (sum / f64::from(count) - f64::from(number)).abs();
        // Four deviations of the mean.
        assert!(
            off < 4.0 * f64::from(number.abs()) / 128.0 / 2.0 / f64::from(count).sqrt(),
            "{number}: {off}"
        );
    }
}

/// A matrix cut into pieces, and a vector, over several steps.
#[test]
fn adalomos_changes_are_those_of_the_twin() {
    let gpu = device::shared();
    let (rows, cols) = (150, 70);
    let weights: Vec<f32> = normal(1, rows * cols).iter().map(|w| 0.02 * w).collect();
    let of_weights = storage(&gpu, &weights);
    let means = storage(&gpu, &vec![0f32; rows + cols]);
    let mut wanted_means = (vec![0.0; rows], vec![0.0; cols]);
    for (i, (beta2, size)) in [(0f32, 1e-3), (0.43, 1e-3), (0.6, 10.0)].into_iter().enumerate() {
        let step = UpdateStep { beta2, ..step_of(Moments::No) };
        let of_step =
            gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
        // Rows and columns differ in size, and one row is zero.
        let mut grads = normal(i as u64 + 2, rows * cols);
        for (at, grad) in grads.iter_mut().enumerate() {
            *grad *= size * (1 + at / cols % 7) as f32 / (1 + at % cols) as f32;
            if at / cols == 5 {
                *grad = 0.0;
            }
        }
        let got = changed(&gpu, &of_step, &grads, [&of_weights, &means], cols);
        let beta2 = f64::from(beta2);
        let squares = (square_rows::cpu(cols, &wide(&grads), None), square_columns::cpu(cols, &wide(&grads)));
        let of_means = [&mut wanted_means.0[..], &mut wanted_means.1[..]];
        let [mut of_rows, of_cols] = factors::cpu(beta2, [&squares.0, &squares.1], of_means);
        let changes = square_rows::cpu(cols, &wide(&grads), Some([&of_rows, &of_cols]));
        limit::cpu(cols, &changes, &square_rows::cpu(cols, &wide(&weights), None), &mut of_rows);
        let mut wanted = wide(&grads);
        change::cpu(&mut wanted, [&of_rows, &of_cols]);
        assert_near(&got, &wanted, 64.0, &format!("step {i}"));
        let kept: Vec<f64> = wanted_means.0.iter().chain(&wanted_means.1).copied().collect();
        assert_near(&read(&gpu, &means, rows + cols), &kept, 64.0, &format!("means of step {i}"));
    }
}

/// What gradients of a matrix become, in pieces of 64 rows.
fn changed(gpu: &Gpu, step: &Buffer, grads: &[f32], [weights, means]: [&Buffer; 2], cols: usize) -> Vec<f32> {
    let rows = grads.len() / cols;
    let room = |count: usize| storage(gpu, &vec![7f32; count]);
    let (row_squares, weight_squares, row_scales) = (room(rows), room(rows), room(rows));
    let (column_squares, column_scales, status) = (room(cols), room(cols), storage(gpu, &[0u32]));
    let whole = MatrixPart::new(0..rows, cols);
    let pieces: Vec<_> = (0..rows).step_by(64).map(|first| first..rows.min(first + 64)).collect();
    let of_pieces: Vec<_> =
        pieces.iter().map(|rows| storage(gpu, &grads[rows.start * cols..rows.end * cols])).collect();
    let mut dispatches = vec![square_rows::dispatch(gpu, &whole, [weights, &weight_squares], None).unwrap()];
    for (i, (rows, grads)) in pieces.iter().zip(&of_pieces).enumerate() {
        let part = MatrixPart::new(rows.clone(), cols);
        dispatches.push(square_rows::dispatch(gpu, &part, [grads, &row_squares], None).unwrap());
        dispatches.push(square_columns::dispatch(gpu, &part, i > 0, [grads, &column_squares]).unwrap());
    }
    let scales = [&row_scales, &column_scales];
    let squares = [&row_squares, &column_squares];
    let with = Factors { step, squares, means, scales, status: &status };
    dispatches.push(factors::dispatch(gpu, &whole, &with).unwrap());
    for (rows, grads) in pieces.iter().zip(&of_pieces) {
        let part = MatrixPart::new(rows.clone(), cols);
        dispatches.push(square_rows::dispatch(gpu, &part, [grads, &row_squares], Some(scales)).unwrap());
    }
    dispatches
        .push(limit::dispatch(gpu, &whole, [step, &row_squares, &weight_squares, &row_scales]).unwrap());
    for (rows, grads) in pieces.iter().zip(&of_pieces) {
        let part = MatrixPart::new(rows.clone(), cols);
        dispatches.push(change::dispatch(gpu, &part, [grads, scales[0], scales[1]]).unwrap());
    }
    run(gpu, &dispatches, 1);
    assert_eq!(read(gpu, &status, 1)[0].to_bits(), 0);
    pieces.iter().zip(&of_pieces).flat_map(|(rows, grads)| read(gpu, grads, rows.len() * cols)).collect()
}

#[test]
fn adalomos_changes_of_vectors_are_those_of_the_twin() {
    let gpu = device::shared();
    for count in [1, 64, 1000] {
        let weights = normal(1, count);
        let means = storage(&gpu, &vec![0f32; count]);
        let (of_weights, status) = (storage(&gpu, &weights), storage(&gpu, &[0u32]));
        let mut wanted_means = vec![0.0; count];
        for beta2 in [0f32, 0.43] {
            let step = UpdateStep { beta2, ..step_of(Moments::No) };
            let of_step =
                gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
            let grads = normal(2, count);
            let of_grads = storage(&gpu, &grads);
            let with = VectorChange {
                step: &of_step,
                grads: &of_grads,
                weights: &of_weights,
                means: &means,
                status: &status,
            };
            run(&gpu, &[vector::dispatch(&gpu, count, &with).unwrap()], 1);
            let mut wanted = wide(&grads);
            vector::cpu(f64::from(beta2), &mut wanted, &wide(&weights), &mut wanted_means);
            assert_near(&read(&gpu, &of_grads, count), &wanted, 64.0, &format!("{count}"));
        }
        assert_eq!(read(&gpu, &status, 1)[0].to_bits(), 0);
    }
}

/// A gradient that is no number leaves every mean that it belongs to as it was, and all weights.
#[test]
fn adalomo_changes_nothing_after_a_gradient_that_is_no_number() {
    let gpu = device::shared();
    let cols = 70;
    let mut grads = normal(2, 3 * cols);
    grads[cols + 3] = f32::INFINITY;
    let step = UpdateStep { beta2: 0.0, ..step_of(Moments::No) };
    let of_step = gpu.buffer_with("step", bytemuck::bytes_of(&step), wgpu::BufferUsages::UNIFORM).unwrap();
    let weights = storage(&gpu, &normal(1, 3 * cols));
    let means = storage(&gpu, &vec![0.5f32; 3 + cols]);
    let status = storage(&gpu, &[0u32]);
    let (of_grads, of_vector) = (storage(&gpu, &grads), storage(&gpu, &grads));
    let room = |count: usize| storage(&gpu, &vec![0f32; count]);
    let [row_squares, weight_squares, row_scales] = [room(3), room(3), room(3)];
    let [column_squares, column_scales] = [room(cols), room(cols)];
    let part = MatrixPart::new(0..3, cols);
    let scales = [&row_scales, &column_scales];
    let with = Factors {
        step: &of_step,
        squares: [&row_squares, &column_squares],
        means: &means,
        scales,
        status: &status,
    };
    let dispatches = [
        square_rows::dispatch(&gpu, &part, [&weights, &weight_squares], None),
        square_rows::dispatch(&gpu, &part, [&of_grads, &row_squares], None),
        square_columns::dispatch(&gpu, &part, false, [&of_grads, &column_squares]),
        factors::dispatch(&gpu, &part, &with),
        square_rows::dispatch(&gpu, &part, [&of_grads, &row_squares], Some(scales)),
        limit::dispatch(&gpu, &part, [&of_step, &row_squares, &weight_squares, &row_scales]),
        change::dispatch(&gpu, &part, [&of_grads, scales[0], scales[1]]),
    ];
    run(&gpu, &dispatches.map(Result::unwrap), 1);
    assert_eq!(read(&gpu, &status, 1)[0].to_bits(), BAD_GRADIENT);
    let kept = read(&gpu, &means, 3 + cols);
    assert!(kept[0] != 0.5 && kept[1] == 0.5 && kept[3 + 3] == 0.5 && kept[3 + 4] != 0.5, "{kept:?}");
    let got = read(&gpu, &of_grads, 3 * cols);
    assert!(got.iter().enumerate().all(|(i, &change)| change == 0.0 || i == cols + 3), "{got:?}");

    let of_means = room(3 * cols);
    let with = VectorChange {
        step: &of_step,
        grads: &of_vector,
        weights: &weights,
        means: &of_means,
        status: &status,
    };
    run(&gpu, &[vector::dispatch(&gpu, 3 * cols, &with).unwrap()], 1);
    let got = read(&gpu, &of_vector, 3 * cols);
    assert!(got.iter().enumerate().all(|(i, &change)| change == 0.0 || i == cols + 3), "{got:?}");
}
