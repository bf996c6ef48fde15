//! `bantam plan`

use std::process::ExitCode;

use bantam::archive::ModelFiles;
use bantam::model::{LoadOptions, Model, ModelConfig, Outputs, Session};

use super::open::ModelArgs;
use super::{Result, print, residency};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Positions that there is to be room for
    #[arg(long, value_name = "N", default_value_t = 1024)]
    context: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let files = ModelFiles::open(&args.model.model)?;
    let config = ModelConfig::open(files.folder())?;
    let context = args.context.clamp(1, config.max_positions);
    let options = args.model.options(Session::device_bytes(&config, context, Outputs::Last));
    // Without a budget, everything stays; what that takes is worth knowing too.
    let budget = Some(options.device_budget.unwrap_or(u64::MAX));
    let gpu = args.model.device.open()?;
    let plan = Model::plan(&gpu, &files, &LoadOptions { device_budget: budget, ..options })?;
    let plan = plan.map(|plan| bantam::stream::Plan { budget: options.device_budget, ..plan });
    if let Some(plan) = plan {
        match args.json {
            true => print::line(residency::plan_json(&plan))?,
            false => print::line(residency::plan_words(&plan))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
