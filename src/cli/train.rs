//! `bantam train`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam::train::write_initial_weights;

use super::Result;
use super::training::TrainingArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    training: TrainingArgs,
    /// Train new weights for this config.json; of the model's folder, only the tokenizer is used
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    init: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let training = &args.training;
    let Some(config) = &args.init else { return training.train(&training.model, None) };
    let new = new_model(config, &training.model, training.seed)?;
    training.train(new.path(), None)
}

/// A folder with new weights for a configuration, and with the tokenizer of a model.
fn new_model(config: &Path, model: &Path, seed: u32) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, folder.path().join(name))
            .map_err(|error| format!("cannot copy {}: {error}", from.display()))
    };
    copy(config, "config.json")?;
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"] {
        let from = model.join(name);
        if from.is_file() {
            copy(&from, name)?;
        }
    }
    write_initial_weights(folder.path(), seed.into())?;
    Ok(folder)
}
