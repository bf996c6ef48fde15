//! Trains an adapter for a model on a text, and writes it where `bantam run --adapter` and PEFT find it.
//!
//!     cargo run --release --example finetune -- MODEL TEXT OUT

use std::path::PathBuf;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, GpuOptions};
use bantam::train::data::DataFiles;
use bantam::train::{LoraOptions, RunOptions, TrainOptions, TrainingRun};

/// Steps of the run.
const STEPS: u64 = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, text, out] = &paths[..] else {
        return Err("usage: finetune MODEL TEXT OUT".into());
    };
    // Any executor will do; nothing here blocks.
    pollster::block_on(async {
        let gpu = Gpu::open(&GpuOptions::default()).await?;
        let (files, data) = (ModelFiles::open(model)?, DataFiles::find(text)?);
        let mut train = TrainOptions::default().with_length(64).with_lora(Some(LoraOptions::default()));
        train.update.schedule.learning_rate = 1e-2;
        let options = RunOptions::default().with_train(train);
        let mut run = TrainingRun::begin(&gpu, &files, &data, options).await?;
        for _ in 0..STEPS {
            let entry = run.step().await?;
            println!("step {}: loss {:.4}", entry.step, entry.loss);
        }
        run.save(out).await?;
        println!("{} has the adapter", out.display());
        Ok(())
    })
}
