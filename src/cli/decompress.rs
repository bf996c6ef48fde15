//! `bantam decompress`

use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{self, Options};

use super::progress::Bar;
use super::{Conversion, Result, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    conversion: Conversion,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let args = &args.conversion;
    let options = Options { overwrite: args.force };
    let began = Instant::now();
    let decompress = || archive::decompress(&args.src, args.output.as_deref(), &options, &Bar::default());
    let report = args.jobs.run(decompress)??;
    let time = began.elapsed();
    if args.json {
        print::line(sizes::report_json(&report, time))?;
    } else {
        let original = report.original_bytes();
        let (size, speed) = (sizes::megabytes(original), sizes::speed(original, time));
        print::line(format_args!("{}: {size}{speed}, all hashes agree", report.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
