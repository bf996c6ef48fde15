//! Training: gradients against the twin, and what steps make of weights.
#![cfg(feature = "runtime")]

mod adapters;
mod candle;
mod faults;
mod gradients;
mod long;
mod steps;

#[path = "../fixtures/candle_training/mod.rs"]
mod candle_training;
#[path = "../fixtures/data/mod.rs"]
mod data;
#[path = "../fixtures/device/mod.rs"]
mod device;
#[path = "../fixtures/left_out/mod.rs"]
mod left_out;
#[path = "../fixtures/models/mod.rs"]
mod models;
#[path = "../fixtures/random_model/mod.rs"]
mod random_model;

use std::path::Path;

use bantam::archive::ModelFiles;
use bantam::gpu::Gpu;
use bantam::train::{
    Batch, Decay, MomentsDtype, Optimizer, Rounding, Schedule, TrainOptions, Trainer, UpdateOptions,
};

/// No decay, no warm-up.
pub fn update(optimizer: Optimizer, rounding: Rounding, learning_rate: f32) -> UpdateOptions {
    let schedule = Schedule { learning_rate, warm_up: 0, decay: Decay::Constant, steps: 0 };
    UpdateOptions {
        optimizer,
        rounding,
        schedule,
        weight_decay: 0.0,
        moments: MomentsDtype::F32,
        clip: None,
        seed: 1,
    }
}

pub fn trainer(gpu: &Gpu, folder: &Path, options: TrainOptions) -> Trainer {
    let files = ModelFiles::open(folder).unwrap();
    pollster::block_on(Trainer::load(gpu, &files, options)).unwrap()
}

/// Tokens that follow each other in no order, of which some do not count.
pub fn batch(sequences: usize, length: usize, vocab: u32) -> Batch {
    let mut random = data::Random::new(7);
    let mut token = || (random.next() % u64::from(vocab)) as u32;
    let ids: Vec<u32> = (0..sequences * length).map(|_| token()).collect();
    let mut targets: Vec<u32> = ids.iter().skip(1).copied().chain([0]).collect();
    for i in (3..targets.len()).step_by(7) {
        targets[i] = u32::MAX;
    }
    Batch { length, ids, targets }
}
