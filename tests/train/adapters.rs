//! Adapters beside frozen weights.

use std::collections::BTreeMap;

use bantam::gpu::Transcoded;
use bantam::model::AdapterTarget;
use bantam::train::{LoraOptions, Optimizer, Rounding, TrainOptions, Trainer};
use serde_json::json;

use crate::gradients::{first_moments, folder, of_twin, twin_with};
use crate::{batch, device, trainer, update};

fn options(targets: &[AdapterTarget]) -> TrainOptions {
    // The first moments are the gradients.
    let optimizer = Optimizer::AdamW { beta1: 0.0, beta2: 0.9, epsilon: 1e-8 };
    let lora = LoraOptions { rank: 4, alpha: 12.0, targets: targets.to_vec() };
    TrainOptions::default().with_length(9).with_sequences(2).with_lora(Some(lora)).with_update(update(
        optimizer,
        Rounding::Stochastic,
        0.01,
    ))
}

/// The factors of all adapters, by name.
fn factors(trainer: &Trainer) -> BTreeMap<String, Vec<f64>> {
    let values = |name: &str| {
        let bytes = pollster::block_on(trainer.read_bytes(name)).unwrap();
        bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
    };
    trainer.trained().into_iter().map(|(name, _)| (name.clone(), values(&name))).collect()
}

/// `A B` of row-major matrices; A has `depth` columns.
fn multiply(a: &[f64], b: &[f64], depth: usize) -> Vec<f64> {
    let cols = b.len() / depth;
    let row = |row: &[f64]| {
        (0..cols)
            .map(|c| row.iter().enumerate().map(|(k, a)| a * b[k * cols + c]).sum())
            .collect::<Vec<f64>>()
    };
    a.chunks(depth).flat_map(row).collect()
}

fn transposed(a: &[f64], cols: usize) -> Vec<f64> {
    (0..cols).flat_map(|c| a.iter().skip(c).step_by(cols)).copied().collect()
}

#[test]
fn factors_have_the_gradients_that_the_twins_weights_give_them() {
    let gpu = device::shared();
    let biases = json!({"attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true});
    let some = [AdapterTarget::QProj, AdapterTarget::VProj, AdapterTarget::DownProj];
    for (architecture, changes, targets) in [
        ("LlamaForCausalLM", biases, &AdapterTarget::ALL[..]),
        ("LlamaForCausalLM", json!({}), &some),
        ("Qwen3ForCausalLM", json!({"head_dim": 8}), &AdapterTarget::ALL),
    ] {
        let folder = folder(architecture, changes);
        let mut trainer = trainer(&gpu, folder.path(), options(targets));
        let batch = batch(2, 9, 300);
        let base = of_twin(&trainer, &batch).loss;
        let first = pollster::block_on(trainer.step(&batch)).unwrap();
        assert!((first.loss - base).abs() < 1e-5 * base);
        // B is no longer zero.
        let before = factors(&trainer);
        assert_eq!(before.len(), 3 * 2 * targets.len());
        let (rank, scale) = (4, 3.0);
        let name = |weight: &str, factor| {
            format!(
                "base_model.model.{}.lora_{factor}.weight",
                weight.strip_suffix(".weight").unwrap_or(weight)
            )
        };
        let wanted = twin_with(&trainer, &batch, &|weight, values| {
            let Some(b) = before.get(&name(weight, 'B')) else { return };
            let change = multiply(b, &before[&name(weight, 'A')], rank);
            values.iter_mut().zip(change).for_each(|(w, c)| *w += scale * c);
        });
        let second = pollster::block_on(trainer.step(&batch)).unwrap();
        assert!((second.loss - wanted.loss).abs() < 1e-5 * wanted.loss);
        let mut seen = 0;
        for (weight, gradient) in &wanted.gradients {
            let Some(b) = before.get(&name(weight, 'B')) else { continue };
            let a = &before[&name(weight, 'A')];
            let cols = a.len() / rank;
            let of_a = multiply(&transposed(b, rank), gradient, b.len() / rank);
            let of_b = multiply(gradient, &transposed(a, cols), cols);
            for (factor, wanted) in [('A', of_a), ('B', of_b)] {
                let moments = first_moments(&trainer, &name(weight, factor));
                let largest = wanted.iter().fold(1e-12f64, |most, w| most.max((scale * w).abs()));
                let off = |(got, w): (&f32, &f64)| (f64::from(*got) - scale * w).abs() / largest;
                let worst = moments.iter().zip(&wanted).map(off).fold(0f64, f64::max);
                assert!(moments.len() == wanted.len() && worst < 1e-4, "{weight} {factor}: {worst}");
                seen += 1;
            }
        }
        assert_eq!(seen, before.len());
    }
}

/// Whether sequences are in one batch or in several changes no bit, also where a batch has no token that counts.
#[test]
fn gradients_of_several_batches_add_up_to_those_of_one() {
    let gpu = device::shared();
    let folder = folder("Qwen3ForCausalLM", json!({"head_dim": 8}));
    let mut empty = batch(4, 9, 300);
    empty.targets[9..18].fill(u32::MAX);
    let batches = [batch(4, 9, 300), empty];
    for optimizer in [Optimizer::Sgd, Optimizer::ADAM_W, Optimizer::ADA_LOMO] {
        let run = |sequences: usize, accumulate: usize| {
            let update = update(optimizer, Rounding::Stochastic, 0.01);
            let options = options(&AdapterTarget::ALL).with_update(update);
            let options = options.with_sequences(sequences).with_accumulate(accumulate);
            let mut trainer = trainer(&gpu, folder.path(), options);
            let step = |batch| pollster::block_on(trainer.step(batch)).unwrap().loss.to_bits();
            let losses: Vec<u64> = batches.iter().chain(&batches).map(step).collect();
            let last = pollster::block_on(trainer.loss(&batches[0])).unwrap().to_bits();
            (losses, last, pollster::block_on(trainer.weights_blake3()).unwrap())
        };
        let whole = run(4, 1);
        assert!(whole.0[0] != whole.0[2]);
        for (sequences, accumulate) in [(2, 2), (1, 4)] {
            assert!(run(sequences, accumulate) == whole, "{optimizer:?} {sequences} {accumulate}");
        }
    }
}

/// The model's own weights never change, and the layout that they have changes no bit.
#[test]
fn frozen_weights_stay_and_their_layout_changes_no_bit() {
    let gpu = device::shared();
    let folder = folder("LlamaForCausalLM", json!({}));
    let batch = batch(2, 9, 300);
    let mut results = Vec::new();
    for layout in [None, Some(Transcoded::Fast), Some(Transcoded::Tiered)] {
        let mut trainer = trainer(&gpu, folder.path(), options(&AdapterTarget::ALL).with_layout(layout));
        let names: Vec<String> = trainer.tensors().into_iter().map(|(name, _)| name).collect();
        let read = |trainer: &Trainer| -> Vec<Vec<u16>> {
            names.iter().map(|name| pollster::block_on(trainer.read(name)).unwrap().unwrap()).collect()
        };
        let before = read(&trainer);
        let losses: Vec<u64> =
            (0..3).map(|_| pollster::block_on(trainer.step(&batch)).unwrap().loss.to_bits()).collect();
        assert!(read(&trainer) == before, "{layout:?}");
        assert!(losses[2] != losses[0]);
        results.push((losses, pollster::block_on(trainer.weights_blake3()).unwrap()));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
}
