//! `bantam calibrate`

use std::process::ExitCode;

use serde_json::json;

use super::bench::table;
use super::device::DeviceArgs;
use super::kernel;
use super::{Result, cache, print};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (gpu, calibration) = kernel::calibrate(&args.device)?;
    let kept = match cache::folder() {
        Some(folder) => Some(
            calibration
                .choices
                .store(&gpu, &folder)
                .map_err(|e| format!("cannot store the kernels in {}: {e}", folder.display()))?,
        ),
        None => None,
    };
    if args.json {
        let file = kept.map(|path| path.to_string_lossy().into_owned());
        let (name, calibration) = (gpu.name(), serde_json::to_value(&calibration)?);
        print::line(json!({ "device": name, "file": file, "calibration": calibration }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print::line(gpu.name())?;
    print::line(table::calibration(&calibration))?;
    let layout = if calibration.choices.fast_is_faster { "fast" } else { "dense" };
    let kept = kept.map_or("Not stored".into(), |path| format!("Stored in {}", path.display()));
    print::line(format_args!("\nThe {layout} layout is faster. {kept}."))?;
    Ok(ExitCode::SUCCESS)
}
