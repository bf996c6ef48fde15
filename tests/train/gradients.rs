//! Loss and gradients of the device against those of the twin.

use std::path::Path;

use bantam::gpu::Gpu;
use bantam::tensor::Dtype;
use bantam::train::twin::{LossAndGradients, Tensors, Twin, rotations};
use bantam::train::{Batch, Optimizer, Rounding, TrainOptions, Trainer};
use half::bf16;
use serde_json::{Value, json};

use crate::random_model::{config, write};
use crate::{batch, device, trainer, update};

/// The first moments are then the gradients themselves, and no weight changes.
pub const GRADIENTS: Optimizer = Optimizer::AdamW { beta1: 0.0, beta2: 0.0, epsilon: 1e-8 };

fn options(sequences: usize, length: usize) -> TrainOptions {
    let update = update(GRADIENTS, Rounding::Nearest, 0.0);
    TrainOptions::default().with_sequences(sequences).with_length(length).with_update(update)
}

pub fn folder(architecture: &str, changes: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(architecture, changes), Dtype::BF16);
    folder
}

/// Loss and gradients of the twin, from the weights that the trainer has.
pub fn of_twin(trainer: &Trainer, batch: &Batch) -> LossAndGradients {
    twin_with(trainer, batch, &|_, _| {})
}

/// The same with weights that are changed first, by name.
pub fn twin_with(trainer: &Trainer, batch: &Batch, change: &dyn Fn(&str, &mut Vec<f64>)) -> LossAndGradients {
    let mut weights = Tensors::new();
    for (name, _) in trainer.tensors() {
        let bits = pollster::block_on(trainer.read(&name)).unwrap().unwrap();
        let mut values = bits.into_iter().map(|bits| bf16::from_bits(bits).to_f64()).collect();
        change(&name, &mut values);
        weights.insert(name, values);
    }
    let rotations = rotations(trainer.config(), batch.length);
    Twin { config: trainer.config(), weights: &weights, rotations: &rotations }.backward(batch)
}

/// What AdamW keeps as first moments.
pub fn first_moments(trainer: &Trainer, name: &str) -> Vec<f32> {
    pollster::block_on(trainer.read_state(name)).unwrap().unwrap().into_iter().step_by(2).collect()
}

/// Compares the device with the twin. The largest error of any tensor, relative to its largest gradient.
fn compare(gpu: &Gpu, folder: &Path, sequences: usize, length: usize, vocab: u32) -> f64 {
    let mut trainer = trainer(gpu, folder, options(sequences, length));
    let batch = batch(sequences, length, vocab);
    let wanted = of_twin(&trainer, &batch);
    let report = pollster::block_on(trainer.step(&batch)).unwrap();
    assert!((report.loss - wanted.loss).abs() < 1e-5 * wanted.loss, "{} {}", report.loss, wanted.loss);
    let mut worst = 0f64;
    for (name, wanted) in &wanted.gradients {
        let got = first_moments(&trainer, name);
        assert_eq!(got.len(), wanted.len(), "{name}");
        let largest = wanted.iter().fold(1e-12f64, |most, w| most.max(w.abs()));
        let off = got.iter().zip(wanted).map(|(got, w)| (f64::from(*got) - w).abs());
        let off = off.fold(0f64, f64::max) / largest;
        assert!(off < 1e-4, "{name}: {off}");
        worst = worst.max(off);
    }
    worst
}

#[test]
fn gradients_are_those_of_the_twin_in_every_family() {
    let gpu = device::shared();
    let biases = json!({"attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true});
    for (architecture, changes) in [
        ("LlamaForCausalLM", biases),
        ("MistralForCausalLM", json!({"sliding_window": 5, "head_dim": 12})),
        ("Qwen2ForCausalLM", json!({"num_key_value_heads": 10})),
        ("Qwen3ForCausalLM", json!({"head_dim": 12})),
        ("Qwen3ForCausalLM", json!({"head_dim": 72, "tie_word_embeddings": true})),
    ] {
        let folder = folder(architecture, changes);
        for (sequences, length) in [(1, 1), (3, 9), (1, 70)] {
            compare(&gpu, folder.path(), sequences, length, 300);
        }
    }
}

/// The sums are the same however matrices and attention are cut into pieces.
#[test]
fn pieces_change_no_bit() {
    let gpu = device::shared();
    for tied in [false, true] {
        let folder = folder("LlamaForCausalLM", json!({"tie_word_embeddings": tied}));
        let batch = batch(2, 9, 300);
        let mut moments = Vec::new();
        // Whole matrices; pieces of one row block; one dispatch a submission.
        for (weights, work) in [(usize::MAX, u64::MAX), (1, u64::MAX), (usize::MAX, 1)] {
            let gpu = gpu.with_submission_work(work);
            let options = options(2, 9).with_piece_weights(weights);
            let mut trainer = trainer(&gpu, folder.path(), options);
            let loss = pollster::block_on(trainer.step(&batch)).unwrap().loss;
            let mut all = vec![loss.to_bits()];
            for (name, _) in trainer.tensors() {
                all.extend(first_moments(&trainer, &name).iter().map(|first| u64::from(first.to_bits())));
            }
            moments.push(all);
        }
        assert!(moments.iter().all(|other| *other == moments[0]), "{tied}");
    }
}

/// A batch in which something is wrong changes nothing.
#[test]
fn batches_that_do_not_fit_are_refused() {
    let gpu = device::shared();
    let folder = folder("LlamaForCausalLM", json!({}));
    let mut trainer = trainer(&gpu, folder.path(), options(2, 9));
    let before = pollster::block_on(trainer.weights_blake3()).unwrap();
    let right = batch(2, 9, 300);
    let mut unknown = right.clone();
    unknown.ids[3] = 300;
    let mut unknown_target = right.clone();
    unknown_target.targets[3] = 301;
    let none = Batch { targets: vec![u32::MAX; 18], ..right.clone() };
    for (wrong, why) in [
        (batch(1, 9, 300), "9 tokens"),
        (batch(2, 8, 300), "sequences of 8"),
        (unknown, "token 300"),
        (unknown_target, "token 301"),
        (none, "no token that counts"),
    ] {
        let error = pollster::block_on(trainer.step(&wrong)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(pollster::block_on(trainer.weights_blake3()).unwrap(), before);
    assert_eq!(trainer.steps(), 0);
}
