//! Losses of an independent trainer: candle's autograd on the CPU.

use bantam::train::{Optimizer, Rounding, TrainOptions};
use serde_json::json;

use crate::candle_training::CandleTrainer;
use crate::gradients::folder;
use crate::models::demo;
use crate::{batch, device, trainer, update};

/// Ten losses, while SGD changes all weights. They come from weights that were rounded to BF16 ten times by either trainer,
/// after sums in another order.
#[test]
fn ten_losses_are_those_of_candles_autograd() {
    let gpu = device::shared();
    let learning_rate = 0.003;
    let random = folder("LlamaForCausalLM", json!({}));
    // The demo model's embedding is its output matrix.
    for folder in [random.path(), &demo()] {
        let update = update(Optimizer::Sgd, Rounding::Nearest, learning_rate);
        let options = TrainOptions::default().with_length(12).with_sequences(3).with_update(update);
        let mut ours = trainer(&gpu, folder, options);
        let theirs = CandleTrainer::open(folder);
        let batch = batch(3, 12, 300);
        let mut losses = Vec::new();
        for step in 0..10 {
            let ours = pollster::block_on(ours.step(&batch)).unwrap().loss;
            let theirs =
                theirs.step(&batch.ids, &batch.targets, batch.length, f64::from(learning_rate)).unwrap();
            assert!((ours - theirs).abs() < 1e-4 * theirs, "{folder:?}, step {step}: {ours} {theirs}");
            losses.push(ours);
        }
        assert!(losses[9] < 0.97 * losses[0], "{losses:?}");
    }
}
