//! `bantam decompress`

use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{self, Archive, Limit, Options, Report, names};

use super::progress::Bar;
use super::{Conversion, Result, Streams, pipe, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    conversion: Conversion,
    /// Maximum size to restore, such as 200GB; by default 32 times the compressed size, and at least 1 GiB
    #[arg(long, value_name = "SIZE", value_parser = sizes::parse_bytes)]
    max_size: Option<u64>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let limit = args.max_size.map_or(Limit::default(), Limit::Bytes);
    let args = &args.conversion;
    let options = Options::DEFAULT.with_overwrite(args.force).with_limit(limit).with_base(args.base()?);
    let began = Instant::now();
    let report = args.jobs.run(|| decompress(args, &options))??;
    let time = began.elapsed();
    if let Some(rounded) = report.rounded() {
        print::remark(sizes::rounded(rounded));
    }
    if args.json {
        args.say(sizes::report_json(&report, time))?;
    } else {
        let original = report.original_bytes();
        let (size, speed) = (sizes::megabytes(original), sizes::speed(original, time));
        args.say(format_args!("{}: {size}{speed}, all hashes match", report.output.display()))?;
    }
    Ok(args.exit_code(&report))
}

fn decompress(args: &Conversion, options: &Options) -> Result<Report> {
    let (output, bar) = (args.output.as_deref(), Bar::default());
    let Some(streams) = args.streams(names::default_original)? else {
        return Ok(archive::decompress(&args.src, output, options, &bar)?);
    };
    let archive = Archive::from_file(pipe::open(&args.src, args.output.as_deref())?)?;
    let report = match streams {
        Streams { to: Some(mut to), .. } => archive::decompress_to(&archive, &mut to, options, &bar)?,
        Streams { to: None, output } => archive::decompress_opened(&archive, &output, options, &bar)?,
    };
    Ok(Report { output: report.output.clone(), files: vec![report], ..Report::default() })
}
