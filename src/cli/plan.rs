//! `bantam plan`

use std::process::ExitCode;

use bantam::archive::ModelFiles;
use bantam::bench::{Bench, Effort, Forecast};
use bantam::gpu::Gpu;
use bantam::model::{Model, ModelConfig, Outputs, Session, require_runnable};
use bantam::stream::Plan;

use super::open::ModelArgs;
use super::{Result, print, residency};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Context length in tokens to plan for
    #[arg(long, value_name = "N", default_value_t = 1024)]
    context: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
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
    if args.model.max_memory.is_none() || args.model.raw {
        return Ok(None);
    }
    let mut bench = Bench::new(gpu, Effort::QUICK, &())?;
    Ok(pollster::block_on(bench.forecast(files, plan))?)
}
