//! What steps make of weights.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, Transcoded};
use bantam::model::ModelConfig;
use bantam::train::{LoraOptions, Optimizer, Rounding, TrainError, TrainOptions, TrainPlan, Trainer};

use crate::gradients::folder;
use crate::{batch, device, trainer, update};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo")
}

#[test]
fn one_batch_is_learned_by_heart() {
    let gpu = device::shared();
    for (optimizer, learning_rate) in [(Optimizer::Sgd, 0.05), (Optimizer::ADAM_W, 3e-3)] {
        let update = update(optimizer, Rounding::Stochastic, learning_rate);
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
    let folder = folder("LlamaForCausalLM", serde_json::json!({}));
    let whole =
        [None, Some(Transcoded::Fast), Some(Transcoded::Tiered)].map(|layout| (layout, usize::MAX, u64::MAX));
    let cut = [
        (Some(Transcoded::Fast), 10_000, 1),
        (Some(Transcoded::Tiered), 30_000, 1 << 20),
        (None, 1, 1 << 20),
    ];
    for (optimizer, rounding, more) in [
        (Optimizer::Sgd, Rounding::Nearest, &cut[..]),
        (Optimizer::Sgd, Rounding::Stochastic, &[]),
        (Optimizer::ADAM_W, Rounding::Nearest, &[]),
        (Optimizer::ADAM_W, Rounding::Stochastic, &cut),
    ] {
        let results: Vec<_> = whole
            .iter()
            .chain(more)
            .map(|&way| three_steps(&gpu, folder.path(), optimizer, rounding, way))
            .collect();
        assert!(
            results.iter().all(|result| *result == results[0]),
            "{optimizer:?} {rounding:?}: {results:?}"
        );
    }
}

/// Losses, weights and some moments after three steps of a small model.
fn three_steps(
    gpu: &Gpu,
    folder: &Path,
    optimizer: Optimizer,
    rounding: Rounding,
    (layout, pieces, work): (Option<Transcoded>, usize, u64),
) -> (Vec<u64>, String, Option<Vec<[f32; 2]>>) {
    let gpu = gpu.with_submission_work(work);
    let update = update(optimizer, rounding, 2e-3);
    let options = TrainOptions::default().with_length(8).with_sequences(2).with_update(update);
    let mut trainer = trainer(&gpu, folder, options.with_layout(layout).with_piece_weights(pieces));
    let batch = batch(2, 8, 300);
    let losses = (0..3).map(|_| pollster::block_on(trainer.step(&batch)).unwrap().loss.to_bits()).collect();
    let hash = pollster::block_on(trainer.weights_blake3()).unwrap().to_string();
    (losses, hash, pollster::block_on(trainer.read_moments("model.norm.weight")).unwrap())
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
    for (layout, optimizer, lora) in [
        (None, Optimizer::ADAM_W, None),
        (Some(Transcoded::Fast), Optimizer::Sgd, None),
        (Some(Transcoded::Tiered), Optimizer::ADAM_W, None),
        (Some(Transcoded::Tiered), Optimizer::ADAM_W, adapter),
    ] {
        let update = update(optimizer, Rounding::Stochastic, 1e-3);
        let options = TrainOptions::default().with_length(16).with_sequences(2).with_update(update);
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
        pollster::block_on(trainer.weights_blake3()).unwrap();
        let peak = enough.memory().peak();
        assert!(peak <= plan && plan < peak + peak / 8, "{layout:?} {optimizer:?}: {peak} of {plan}");
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
