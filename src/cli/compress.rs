//! `bantam compress`

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
    let compress = || archive::compress(&args.src, args.output.as_deref(), &options, &Bar::default());
    let report = args.jobs.run(compress)??;
    let time = began.elapsed();
    if let (tensors @ 1.., bytes) = report.quantized() {
        let size = sizes::megabytes(bytes);
        print::remark(format_args!(
            "{tensors} quantised tensors ({size}) are stored as they are: they do not compress"
        ));
    }
    if args.json {
        print::line(sizes::report_json(&report, time))?;
    } else {
        let (original, compressed) = (report.original_bytes(), report.compressed_bytes());
        let (change, speed) = (sizes::change(original, compressed), sizes::speed(original, time));
        print::line(format_args!("{}: {change}{speed}", report.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
