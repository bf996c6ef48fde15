//! What steps make of weights.

use std::future::Future;
use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bantam::archive::ModelFiles;
use bantam::gpu::kernels::training::adalomo::{change, factors, limit, vector};
use bantam::gpu::kernels::training::{square_columns, square_rows};
use bantam::gpu::{Gpu, Transcoded};
use bantam::model::ModelConfig;
use bantam::train::{
    LoraOptions, MomentsDtype, Optimizer, Rounding, TrainError, TrainOptions, TrainPlan, Trainer,
    UpdateOptions,
};
use half::bf16;

use crate::gradients::{folder, of_twin};
use crate::models::demo;
use crate::{batch, device, trainer, update};

#[test]
fn one_batch_is_learned_by_heart() {
    let gpu = device::shared();
    let (f32, bf16) = (MomentsDtype::F32, MomentsDtype::Bf16);
    for (optimizer, moments, learning_rate) in [
        (Optimizer::Sgd, f32, 0.05),
        (Optimizer::ADAM_W, f32, 3e-3),
        (Optimizer::ADAM_W, bf16, 3e-3),
        (Optimizer::ADA_LOMO, f32, 0.05),
    ] {
        let update = UpdateOptions { moments, ..update(optimizer, Rounding::Stochastic, learning_rate) };
        let options = TrainOptions::default().with_length(16).with_sequences(2).with_update(update);
        let mut trainer = trainer(&gpu, &demo(), options);
        let batch = batch(2, 16, 1024);
        let before = pollster::block_on(trainer.loss(&batch)).unwrap();
        let losses: Vec<f64> =
            (0..8).map(|_| pollster::block_on(trainer.step(&batch)).unwrap().loss).collect();
        assert_eq!(losses[0], before, "{optimizer:?}");
        assert!(losses[7] < 0.8 * losses[0], "{optimizer:?}: {losses:?}");
        assert_eq!(trainer.steps(), 8);
    }
}

/// However weights are stored, and however much of them is worked on or submitted at once, each bit of them is the same,
/// and so are the losses.
#[test]
fn every_layout_gives_the_same_bits() {
    let gpu = device::shared();
    let folder = folder("Qwen3ForCausalLM", serde_json::json!({"head_dim": 8}));
    let whole =
        [None, Some(Transcoded::Fast), Some(Transcoded::Tiered)].map(|layout| (layout, usize::MAX, u64::MAX));
    let cut = [
        (Some(Transcoded::Fast), 10_000, 1),
        (Some(Transcoded::Tiered), 30_000, 1 << 20),
        (None, 1, 1 << 20),
    ];
    let of_bf16 = |update| UpdateOptions { moments: MomentsDtype::Bf16, ..update };
    for (optimizer, rounding, is_bf16, more) in [
        (Optimizer::Sgd, Rounding::Nearest, false, &cut[..]),
        (Optimizer::Sgd, Rounding::Stochastic, false, &[]),
        (Optimizer::ADAM_W, Rounding::Nearest, false, &[]),
        (Optimizer::ADAM_W, Rounding::Stochastic, false, &cut),
        (Optimizer::ADAM_W, Rounding::Nearest, true, &[]),
        (Optimizer::ADAM_W, Rounding::Stochastic, true, &cut),
        (Optimizer::ADA_LOMO, Rounding::Nearest, false, &[]),
        (Optimizer::ADA_LOMO, Rounding::Stochastic, false, &cut),
    ] {
        let update = update(optimizer, rounding, 2e-3);
        let update = if is_bf16 { of_bf16(update) } else { update };
        let results: Vec<_> =
            whole.iter().chain(more).map(|&way| three_steps(&gpu, folder.path(), update, way)).collect();
        let what = format!("{optimizer:?} {rounding:?} {is_bf16}");
        assert!(
            results.iter().all(|(losses, hash, _)| (losses, hash) == (&results[0].0, &results[0].1)),
            "{what}"
        );
        assert!(results.iter().all(|(_, _, states)| *states == results[0].2), "{what}");
        let numbers = results[0].2.len();
        assert_eq!(numbers > 0, optimizer != Optimizer::Sgd, "{what}");
    }
}

/// Losses, weights and what the optimizer keeps after three steps of a small model.
fn three_steps(
    gpu: &Gpu,
    folder: &Path,
    update: UpdateOptions,
    (layout, pieces, work): (Option<Transcoded>, usize, u64),
) -> (Vec<u64>, String, Vec<u32>) {
    let gpu = gpu.with_submission_work(work);
    let options = TrainOptions::default().with_length(8).with_sequences(2).with_update(update);
    let mut trainer = trainer(&gpu, folder, options.with_layout(layout).with_piece_weights(pieces));
    let batch = batch(2, 8, 300);
    let losses = (0..3).map(|_| pollster::block_on(trainer.step(&batch)).unwrap().loss.to_bits()).collect();
    let hash = pollster::block_on(trainer.weights_blake3()).unwrap().to_string();
    let of_tensor = |(name, _): (String, Vec<usize>)| pollster::block_on(trainer.read_state(&name)).unwrap();
    let states = trainer.trained().into_iter().filter_map(of_tensor).flatten();
    (losses, hash, states.map(f32::to_bits).collect())
}

/// The changes of AdaLomo are those that its twins make of the twin's gradients, in matrices of one piece and of several.
#[test]
fn adalomo_changes_weights_as_its_twins_do() {
    let gpu = device::shared();
    let folder = folder("LlamaForCausalLM", serde_json::json!({"tie_word_embeddings": true}));
    let learning_rate = 0.5;
    let update = update(Optimizer::ADA_LOMO, Rounding::Nearest, learning_rate);
    let options = TrainOptions::default().with_length(9).with_sequences(2).with_update(update);
    let batch = batch(2, 9, 300);
    for piece_weights in [usize::MAX, 1] {
        let mut trainer = trainer(&gpu, folder.path(), options.clone().with_piece_weights(piece_weights));
        let wanted = of_twin(&trainer, &batch);
        let read = |trainer: &Trainer, name: &str| -> Vec<f64> {
            let bits = pollster::block_on(trainer.read(name)).unwrap().unwrap();
            bits.into_iter().map(|bits| bf16::from_bits(bits).to_f64()).collect()
        };
        let names = trainer.tensors();
        let before: Vec<_> = names.iter().map(|(name, _)| read(&trainer, name)).collect();
        pollster::block_on(trainer.step(&batch)).unwrap();
        for ((name, shape), before) in names.iter().zip(&before) {
            let change = adalomo_change(&wanted.gradients[name], before, shape);
            let got = read(&trainer, name);
            for (i, ((got, w), change)) in got.iter().zip(before).zip(&change).enumerate() {
                let wanted = w - f64::from(learning_rate) * change;
                // A step of BF16, and what gradients of F32 leave.
                let most = wanted.abs() / 128.0 + 1e-3 * change.abs() + 1e-6;
                assert!((got - wanted).abs() <= most, "{name} {i}: {w} became {got}, and not {wanted}");
            }
        }
    }
}

/// What the first step of AdaLomo subtracts from a tensor, for a learning rate of 1.
fn adalomo_change(gradients: &[f64], weights: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut change = gradients.to_vec();
    let &[rows, cols] = shape else {
        vector::cpu(0.0, &mut change, weights, &mut vec![0.0; weights.len()]);
        return change;
    };
    let squares = (square_rows::cpu(cols, gradients, None), square_columns::cpu(cols, gradients));
    let (mut of_rows, mut of_cols) = (vec![0.0; rows], vec![0.0; cols]);
    let [mut row_scales, column_scales] =
        factors::cpu(0.0, [&squares.0, &squares.1], [&mut of_rows, &mut of_cols]);
    let changes = square_rows::cpu(cols, gradients, Some([&row_scales, &column_scales]));
    limit::cpu(cols, &changes, &square_rows::cpu(cols, weights, None), &mut row_scales);
    change::cpu(&mut change, [&row_scales, &column_scales]);
    change
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let gpu = device::shared();
    let files = ModelFiles::open(&demo()).unwrap();
    let of = |optimizer| update(optimizer, Rounding::Nearest, 1e-3);
    let bf16 = |update| UpdateOptions { moments: MomentsDtype::Bf16, ..update };
    let lora = Some(LoraOptions::default());
    for (update, lora, why) in [
        (bf16(of(Optimizer::Sgd)), None, "only AdamW"),
        (bf16(of(Optimizer::ADAM_W)), lora, "adapters"),
        (UpdateOptions { clip: Some(1.0), ..of(Optimizer::ADA_LOMO) }, None, "AdaLomo limits"),
        (UpdateOptions { clip: Some(0.0), ..of(Optimizer::Sgd) }, None, "above 0"),
        (UpdateOptions { clip: Some(f32::NAN), ..of(Optimizer::Sgd) }, None, "above 0"),
    ] {
        let options = TrainOptions::default().with_length(8).with_update(update).with_lora(lora);
        let error = pollster::block_on(Trainer::load(&gpu, &files, options)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    for (options, why) in [
        (TrainOptions::default().with_accumulate(2), "never all there"),
        (TrainOptions::default().with_accumulate(0), "at least one token"),
        (TrainOptions::default().with_sequences(usize::MAX), "at the most"),
    ] {
        let error = pollster::block_on(Trainer::load(&gpu, &files, options)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// No weight changes by more than the limit of its gradient, times the learning rate, and a step of BF16.
#[test]
fn gradients_are_limited() {
    let gpu = device::shared();
    let folder = folder("LlamaForCausalLM", serde_json::json!({}));
    let batch = batch(2, 9, 300);
    let change = |clip: Option<f32>| {
        let update = UpdateOptions { clip, ..update(Optimizer::Sgd, Rounding::Nearest, 1.0) };
        let options = TrainOptions::default().with_length(9).with_sequences(2).with_update(update);
        let mut trainer = trainer(&gpu, folder.path(), options);
        let read =
            |trainer: &Trainer| pollster::block_on(trainer.read("model.norm.weight")).unwrap().unwrap();
        let before = read(&trainer);
        pollster::block_on(trainer.step(&batch)).unwrap();
        let after = read(&trainer);
        let value = |bits: u16| bf16::from_bits(bits).to_f32();
        let off = before.iter().zip(&after).map(|(&a, &b)| (value(a) - value(b)).abs());
        off.fold(0f32, f32::max)
    };
    let free = change(None);
    let limit = free / 4.0;
    let limited = change(Some(limit));
    assert!(limited < 0.5 * free && limited <= limit + 1.0 / 64.0, "{free} {limited}");
}

/// Weights that change so much that they need more room get it, and nothing is lost.
#[test]
fn room_grows_with_what_weights_need() {
    let gpu = device::shared();
    let batch = batch(2, 16, 1024);
    let mut results = Vec::new();
    for layout in [None, Some(Transcoded::Fast), Some(Transcoded::Tiered)] {
        // A step so large that weights are gradients, whose sizes differ much more.
        let update = update(Optimizer::Sgd, Rounding::Nearest, 1e4);
        let options = TrainOptions::default().with_length(16).with_sequences(2).with_update(update);
        let mut trainer = trainer(&gpu, &demo(), options.with_layout(layout));
        let before = trainer.weight_bytes();
        pollster::block_on(trainer.step(&batch)).unwrap();
        // In the fast layout that is not much: its window is wide. What it does with weights that need more:
        // tests/gpu/encode.rs.
        let grown = trainer.weight_bytes() > before;
        assert_eq!(grown, layout == Some(Transcoded::Tiered), "{before} {}", trainer.weight_bytes());
        results.push(pollster::block_on(trainer.weights_blake3()).unwrap());
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
}

/// A budget of what the plan says is enough, and one byte less is refused before anything is loaded. After the first step,
/// nothing more is taken.
#[test]
fn the_plan_is_kept() {
    let gpu = device::shared();
    let batch = batch(2, 16, 1024);
    let adapter = Some(LoraOptions { rank: 4, ..LoraOptions::default() });
    let (f32, bf16) = (MomentsDtype::F32, MomentsDtype::Bf16);
    for (layout, optimizer, moments, lora) in [
        (None, Optimizer::ADAM_W, f32, None),
        (None, Optimizer::ADAM_W, bf16, None),
        (Some(Transcoded::Fast), Optimizer::Sgd, f32, None),
        (Some(Transcoded::Fast), Optimizer::ADA_LOMO, f32, None),
        (Some(Transcoded::Tiered), Optimizer::ADAM_W, f32, None),
        (Some(Transcoded::Tiered), Optimizer::ADAM_W, bf16, None),
        (Some(Transcoded::Tiered), Optimizer::ADAM_W, f32, adapter.clone()),
        (Some(Transcoded::Tiered), Optimizer::ADA_LOMO, f32, adapter),
    ] {
        let update = UpdateOptions { moments, ..update(optimizer, Rounding::Stochastic, 1e-3) };
        let options = TrainOptions::default().with_length(16).with_sequences(2).with_update(update);
        // Gradients that add up over batches are kept, too.
        let options = match lora.is_some() && optimizer == Optimizer::ADA_LOMO {
            true => options.with_sequences(1).with_accumulate(2),
            false => options,
        };
        let options = options.with_layout(layout).with_lora(lora);
        let files = ModelFiles::open(&demo()).unwrap();
        let config = ModelConfig::open(&demo()).unwrap();
        let plan = TrainPlan::new(&gpu, &config, &options).peak_device_bytes;
        let less = gpu.with_share(Some(plan - 1));
        let error = pollster::block_on(Trainer::load(&less, &files, options.clone())).unwrap_err();
        assert!(matches!(error, TrainError::TooLittleMemory { needed, .. } if needed == plan), "{error}");
        assert_eq!(less.memory().peak(), 0);

        let enough = gpu.with_share(Some(plan));
        let mut trainer = pollster::block_on(Trainer::load(&enough, &files, options)).unwrap();
        pollster::block_on(trainer.step(&batch)).unwrap();
        let (used, peak) = (enough.memory().used(), enough.memory().peak());
        for _ in 0..2 {
            pollster::block_on(trainer.step(&batch)).unwrap();
        }
        assert_eq!((enough.memory().used(), enough.memory().peak()), (used, peak));
        // Weights are read back within it, too.
        let hash = pollster::block_on(trainer.weights_blake3());
        assert!(hash.is_ok(), "{layout:?} {optimizer:?} {moments:?}: {hash:?}");
        let peak = enough.memory().peak();
        assert!(
            peak <= plan && plan < peak + peak / 8,
            "{layout:?} {optimizer:?} {moments:?}: {peak} of {plan}"
        );
    }
}

/// A step that is given up while it changes weights leaves a trainer that says so, and does nothing more.
#[test]
fn a_step_that_is_given_up_is_never_gone_on_from() {
    let gpu = device::shared();
    let update = update(Optimizer::Sgd, Rounding::Nearest, 1e-3);
    let options = TrainOptions::default().with_length(16).with_sequences(2).with_update(update);
    let mut trainer = trainer(&gpu, &demo(), options);
    let batch = batch(2, 16, 1024);
    let context = &mut Context::from_waker(Waker::noop());
    for millis in 0..2000 {
        let mut step = Box::pin(trainer.step(&batch));
        let until = Instant::now() + Duration::from_millis(millis);
        let ended = loop {
            match step.as_mut().poll(context) {
                Poll::Ready(result) => break Some(result),
                Poll::Pending if Instant::now() >= until => break None,
                Poll::Pending => std::thread::sleep(Duration::from_micros(200)),
            }
        };
        drop(step);
        match ended {
            // It was given up a moment ago, or has now ended although it was never given up.
            Some(result) => assert!(matches!(result, Ok(_) | Err(TrainError::Torn)), "{result:?}"),
            None => {
                if let Err(error) = pollster::block_on(trainer.loss(&batch)) {
                    assert!(matches!(error, TrainError::Torn), "{error}");
                    assert!(matches!(pollster::block_on(trainer.step(&batch)), Err(TrainError::Torn)));
                    assert!(matches!(pollster::block_on(trainer.weights_blake3()), Err(TrainError::Torn)));
                    return;
                }
            }
        }
    }
    panic!("no step was given up while it changed weights");
}

#[test]
fn sequences_are_no_longer_than_the_model_has_positions() {
    let gpu = device::shared();
    let files = ModelFiles::open(&demo()).unwrap();
    let options = TrainOptions::default().with_length(513);
    let error = pollster::block_on(Trainer::load(&gpu, &files, options)).unwrap_err();
    assert!(error.to_string().contains("512 positions"), "{error}");
}
