//! Longer runs, which `scripts/check_training` makes: whatever the layout, bits stay the same.

use std::path::Path;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, Transcoded};
use bantam::model::ModelConfig;
use bantam::train::{
    Batch, MomentsDtype, Optimizer, Rounding, TrainOptions, TrainPlan, Trainer, UpdateOptions,
};

use crate::models::{demo, optional};
use crate::{data, device, left_out, update};

#[test]
fn long_runs_rounded_to_nearest_give_the_same_bits_in_every_layout() {
    give_the_same_bits(Rounding::Nearest);
}

#[test]
fn long_runs_rounded_stochastically_give_the_same_bits_in_every_layout() {
    give_the_same_bits(Rounding::Stochastic);
}

/// 50 steps of the demo model and 10 of SmolLM2, with each optimizer: losses, weights and what the optimizer keeps are the
/// same in every layout, with three budgets, pieces and bounds of submissions.
fn give_the_same_bits(rounding: Rounding) {
    if std::env::var_os("BANTAM_ENDURANCE").is_none() {
        return left_out::report("long training runs", "they take long; scripts/check_training makes them");
    }
    let gpu = device::shared();
    same_bits(&gpu, &demo(), rounding, 50, 48);
    if let Some(folder) = optional("smollm2") {
        same_bits(&gpu, &folder, rounding, 10, 16);
    }
}

fn same_bits(gpu: &Gpu, folder: &Path, rounding: Rounding, steps: usize, length: usize) {
    let of_bf16 = |update| UpdateOptions { moments: MomentsDtype::Bf16, ..update };
    let adam = update(Optimizer::ADAM_W, rounding, 1e-4);
    for update in [
        update(Optimizer::Sgd, rounding, 1e-3),
        adam,
        of_bf16(adam),
        update(Optimizer::ADA_LOMO, rounding, 1e-3),
    ] {
        let ways = [
            (None, 2 << 20, u64::MAX),
            (Some(Transcoded::Fast), 1 << 20, 1 << 30),
            (Some(Transcoded::Tiered), 200_000, 1 << 26),
        ];
        let results = ways.map(|way| run(gpu, folder, update, steps, length, way));
        let what = format!("{}: {update:?}", folder.display());
        assert!(results.iter().all(|result| *result == results[0]), "{what}");
        let (losses, hash) = &results[0];
        println!("{what}: loss {} to {}, {hash}", losses[0], losses[steps - 1]);
    }
}

/// Losses, and a hash of weights and of what the optimizer keeps, within a budget of what is planned and some room for
/// weights that grow.
fn run(
    gpu: &Gpu,
    folder: &Path,
    update: UpdateOptions,
    steps: usize,
    length: usize,
    (layout, piece_weights, work): (Option<Transcoded>, usize, u64),
) -> (Vec<f64>, String) {
    let options = TrainOptions::default().with_length(length).with_update(update).with_layout(layout);
    let options = options.with_piece_weights(piece_weights);
    let files = ModelFiles::open(folder).unwrap();
    let config = ModelConfig::open(folder).unwrap();
    let plan = TrainPlan::new(gpu, &config, &options).peak_device_bytes;
    let gpu = gpu.with_submission_work(work).with_share(Some(plan + plan / 16));
    let mut trainer = pollster::block_on(Trainer::load(&gpu, &files, options)).unwrap();
    let mut random = data::Random::new(3);
    let losses = (0..steps).map(|_| {
        let ids: Vec<u32> = (0..length).map(|_| (random.next() % config.vocab as u64) as u32).collect();
        let targets = ids.iter().skip(1).copied().chain([0]).collect();
        pollster::block_on(trainer.step(&Batch { length, ids, targets })).unwrap().loss
    });
    let losses = losses.collect();
    let mut numbers = pollster::block_on(trainer.weights_blake3()).unwrap().to_string().into_bytes();
    for (name, _) in trainer.trained() {
        let state = pollster::block_on(trainer.read_state(&name)).unwrap().unwrap_or_default();
        numbers.extend(state.iter().flat_map(|number| number.to_le_bytes()));
    }
    (losses, blake3::hash(&numbers).to_string())
}
