//! `bantam finetune`

use std::process::ExitCode;

use bantam::model::AdapterTarget;
use bantam::train::LoraOptions;

use super::Result;
use super::training::TrainingArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    training: TrainingArgs,
    /// Rank of the adapters
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096), conflicts_with = "resume")]
    rank: u32,
    /// What an adapter adds is multiplied by this, divided by the rank
    #[arg(long, value_name = "NUMBER", default_value_t = 16.0, conflicts_with = "resume")]
    alpha: f32,
    /// Products that get an adapter, by the names of their modules, such as q_proj,v_proj; or all-linear
    #[arg(long, value_name = "NAMES", default_value = "all-linear", value_parser = parse_targets, conflicts_with = "resume")]
    targets: Targets,
}

/// `--targets`
#[derive(Debug, Clone)]
struct Targets(Vec<AdapterTarget>);

fn parse_targets(text: &str) -> std::result::Result<Targets, String> {
    if text == "all-linear" {
        return Ok(Targets(AdapterTarget::ALL.to_vec()));
    }
    let target = |name: &str| {
        AdapterTarget::named(name.trim()).ok_or_else(|| {
            let names: Vec<_> = AdapterTarget::ALL.iter().map(|target| target.name()).collect();
            format!("{name:?} is none of {}, all-linear", names.join(", "))
        })
    };
    let mut all = text.split(',').map(target).collect::<std::result::Result<Vec<_>, _>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(Targets(all))
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (rank, alpha) = (args.rank as usize, args.alpha);
    if !alpha.is_finite() {
        return Err("--alpha must be a finite number".into());
    }
    let lora = LoraOptions { rank, alpha, targets: args.targets.0.clone() };
    args.training.train(&args.training.model, Some(lora))
}
