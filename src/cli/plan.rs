//! `bantam plan`

use std::process::ExitCode;

use bantam::archive::ModelFiles;
use bantam::bench::{Bench, Effort, Forecast};
use bantam::gpu::{Gpu, Transcoded};
use bantam::model::{Model, ModelConfig, Outputs, Session, require_runnable};
use bantam::stream::Plan;
use bantam::train::{LoraOptions, TrainOptions, TrainPlan};

use super::open::{LayoutArg, ModelArgs};
use super::sizes::megabytes;
use super::training::{MomentsArg, OptimizerArg};
use super::{Result, print, residency};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Context length in tokens to plan for
    #[arg(long, value_name = "N", default_value_t = 1024)]
    context: usize,
    /// Plan for training, from config.json alone: the device memory that it takes
    #[arg(long)]
    train: bool,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", default_value_t = 512, requires = "train", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    length: u32,
    /// Sequences of a batch
    #[arg(long, value_name = "N", default_value_t = 1, requires = "train", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch: u32,
    /// Batches of a step, whose gradients add up; for adapters only
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rank", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    accumulate: u32,
    /// How gradients change weights
    #[arg(long, value_enum, default_value_t, requires = "train")]
    optimizer: OptimizerArg,
    /// Type of AdamW's moments of matrices
    #[arg(long, value_enum, default_value_t, requires = "train")]
    moments: MomentsArg,
    /// Plan for adapters of this rank, for all products of a layer
    #[arg(long, value_name = "N", requires = "train", value_parser = clap::value_parser!(u32).range(1..=4096))]
    rank: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints what training takes of device memory.
fn train(args: &Args) -> Result<ExitCode> {
    let config = ModelConfig::open(&args.model.model)?;
    let layout = match args.model.layout {
        LayoutArg::Fast => Some(Transcoded::Fast),
        LayoutArg::Tiered | LayoutArg::Auto if !args.model.is_raw() => Some(Transcoded::Tiered),
        LayoutArg::Dense => {
            return Err("weights in dense tiles cannot be trained; choose raw, fast or tiered".into());
        }
        _ => None,
    };
    let lora = args.rank.map(|rank| LoraOptions { rank: rank as usize, ..LoraOptions::default() });
    let mut options = TrainOptions::default()
        .with_length(args.length as usize)
        .with_sequences(args.batch as usize)
        .with_accumulate(args.accumulate as usize)
        .with_layout(layout)
        .with_lora(lora);
    options.update.optimizer = args.optimizer.into();
    options.update.moments = args.moments.into();
    let plan = TrainPlan::new(&args.model.device.open()?, &config, &options);
    if args.json {
        print::line(serde_json::to_value(plan)?)?;
    } else {
        print::line(format_args!(
            "peak device memory {}: weights {}, states {}, adapters {}, a batch {}, pieces that are worked on {}",
            megabytes(plan.peak_device_bytes),
            megabytes(plan.weight_bytes),
            megabytes(plan.state_bytes),
            megabytes(plan.adapter_bytes),
            megabytes(plan.activation_bytes),
            megabytes(plan.room_bytes),
        ))?;
    }
    match args.model.max_memory {
        Some(most) if plan.peak_device_bytes > most => {
            let needed = megabytes(plan.peak_device_bytes);
            Err(format!("training takes {needed}, more than --max-memory {}", megabytes(most)).into())
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    if args.train {
        return train(args);
    }
    let files = ModelFiles::open(&args.model.model)?;
    require_runnable(&files)?;
    let config = ModelConfig::open(files.folder())?;
    let context = args.context.clamp(1, config.max_positions);
    let options = args.model.options(&config, Session::device_bytes(&config, context, Outputs::Last))?;
    // Without a budget, all weights stay. The plan then shows how much memory they take.
    let budget = Some(options.budget.unwrap_or(u64::MAX));
    // The choice of kernels affects which layout the plan uses.
    let gpu = args.model.kernel.choose(args.model.device.open()?, &args.model.device)?;
    let max_memory = options.budget;
    let within = options.with_budget(budget);
    Session::check_context(&gpu, &config, context, args.model.kv_cache.into())?;
    let (plan, precisions) = Model::plan_with_precisions(&gpu, &files, &within)?;
    let plan = plan.map(|mut plan| {
        plan.budget = max_memory;
        plan
    });
    if let Some(plan) = plan {
        let forecast = forecast(args, &gpu, &files, &plan)?;
        match args.json {
            true => {
                let mut object = residency::plan_json(&plan);
                object["forecast"] = serde_json::to_value(forecast)?;
                object["precision"] = residency::precision_json(&precisions, &files);
                print::line(object)?;
            }
            false => {
                print::line(residency::plan_words(&plan))?;
                print::line(residency::precision_words(&precisions, &files))?;
                if let Some(forecast) = forecast {
                    print::line(residency::forecast_words(&forecast))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The expected speed, if there is a budget. Measuring takes a second or two.
fn forecast(args: &Args, gpu: &Gpu, files: &ModelFiles, plan: &Plan) -> Result<Option<Forecast>> {
    if args.model.max_memory.is_none() || args.model.is_raw() {
        return Ok(None);
    }
    let mut bench = Bench::new(gpu, Effort::QUICK, &())?;
    Ok(pollster::block_on(bench.forecast(files, plan))?)
}
