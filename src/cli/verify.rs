//! `bantam verify`

use std::path::PathBuf;
use std::process::ExitCode;

use bantam::archive::{self, BoxError, Failure, ModelFiles, Verification};
use bantam::codec::Payload;
use bantam::gpu::{Gpu, kernels};
use serde_json::{Value, json};

use super::device::DeviceArgs;
use super::progress::Bar;
use super::{Jobs, Result, failure, print};

#[derive(clap::Args)]
pub struct Args {
    /// A compressed file, or the folder of a model
    src: PathBuf,
    /// The model to which tensors are stored as differences: a file or a folder, compressed or not
    #[arg(long, value_name = "MODEL")]
    base: Option<PathBuf>,
    /// Decode on the device instead of the CPU
    #[arg(long, conflicts_with = "base")]
    gpu: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    jobs: Jobs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let bar = Bar::default();
    let verification = if args.gpu {
        let gpu = args.device.open()?;
        args.jobs.run(|| archive::verify_with(&args.src, &|_, payload| decode_on(&gpu, payload), &bar))??
    } else {
        let base = args.base.as_deref().map(ModelFiles::open).transpose()?;
        args.jobs.run(|| archive::verify_with_base(&args.src, base, &bar))??
    };
    report(&verification, args)
}

/// A device has nothing to decode for tensors that are stored raw.
pub fn decode_on(gpu: &Gpu, payload: &Payload) -> std::result::Result<Vec<u8>, BoxError> {
    match pollster::block_on(kernels::decode::decode(gpu, payload))? {
        Some(bytes) => Ok(bytes),
        None => Ok(payload.decode()?),
    }
}

fn report(verification: &Verification, args: &Args) -> Result<ExitCode> {
    let Verification { tensors, rounded, plain, failures } = verification;
    for Failure { error, .. } in failures {
        print::error_line(&failure::chain(error));
    }
    if args.json {
        let failures: Vec<Value> = failures.iter().map(failure_json).collect();
        print::line(json!({
            "ok": failures.is_empty(), "tensors": tensors, "lossy": rounded, "plain": plain, "failures": failures
        }))?;
    } else if failures.is_empty() {
        let lossy = match rounded {
            0 => String::new(),
            _ => format!("; {rounded} of them were rounded (lossy) and differ from the original"),
        };
        let uncompressed = match plain {
            0 => String::new(),
            _ => format!("; {plain} more are not compressed and cannot be checked"),
        };
        print::line(format_args!(
            "{}: {tensors} tensors, all decode to what was compressed{lossy}{uncompressed}",
            args.src.display()
        ))?;
    } else {
        print::line(format_args!(
            "{}: {} failures in {tensors} tensors",
            args.src.display(),
            failures.len()
        ))?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "file": failure.file.display().to_string(),
        "tensor": failure.tensor,
        "error": failure::chain(&failure.error),
    })
}
