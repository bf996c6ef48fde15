//! `bantam fuse`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{ModelFiles, Options};
use bantam::model::{Adapter, ModelConfig, require_runnable};
use bantam::train::fuse;

use super::progress::Bar;
use super::{Result, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    /// Model folder, compressed or not
    model: PathBuf,
    /// Adapter, as PEFT and `bantam finetune` write it: its folder
    adapter: PathBuf,
    /// The folder for the result, which is compressed
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Replace the output folder if it exists
    #[arg(short, long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let files = ModelFiles::open(&args.model)?;
    require_runnable(&files)?;
    let adapter = Adapter::open(&args.adapter, &ModelConfig::open(files.folder())?)?;
    let began = Instant::now();
    let options = Options::DEFAULT.with_overwrite(args.force);
    let report = fuse(&files, &adapter, &args.output, &options, &Bar::default())?;
    if args.json {
        print::line(sizes::report_json(&report, began.elapsed()))?;
    } else {
        print::line(format_args!(
            "{}: {} products of rank {} were added to the weights, which were rounded to their type",
            args.output.display(),
            adapter.pairs.len(),
            adapter.rank
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
