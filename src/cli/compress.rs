//! `bantam compress`

use std::io::stdout;
use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{self, ArchiveError, Options, Preset, Report};

use super::progress::Bar;
use super::{Conversion, Result, pipe, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    conversion: Conversion,
    /// What to strive for
    #[arg(long, value_enum, default_value_t = Strive::Small)]
    preset: Strive,
}

/// The presets of [`archive::Preset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Strive {
    /// The smallest file
    Small,
    /// A file a little larger that is quicker to make and to read
    Fast,
}

impl From<Strive> for Preset {
    fn from(strive: Strive) -> Self {
        match strive {
            Strive::Small => Self::Small,
            Strive::Fast => Self::Fast,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let preset = args.preset.into();
    let args = &args.conversion;
    let options = Options { overwrite: args.force, preset };
    let began = Instant::now();
    let report = args.jobs.run(|| compress(args, &options))??;
    let time = began.elapsed();
    if let (tensors @ 1.., bytes) = report.quantized() {
        let size = sizes::megabytes(bytes);
        print::remark(format_args!(
            "{tensors} quantised tensors ({size}) are coded byte by byte: they hardly compress"
        ));
    }
    if args.json {
        args.say(sizes::report_json(&report, time))?;
    } else {
        let (original, compressed) = (report.original_bytes(), report.compressed_bytes());
        let (change, speed) = (sizes::change(original, compressed), sizes::speed(original, time));
        args.say(format_args!("{}: {change}{speed}", report.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compress(args: &Conversion, options: &Options) -> Result<Report> {
    let (output, bar) = (args.output.as_deref(), Bar::default());
    pipe::refuse_terminal(output)?;
    if !args.has_pipe() {
        return Ok(archive::compress(&args.src, output, options, &bar)?);
    }
    let file = pipe::open(&args.src, args.output.as_deref())?;
    let report = match output {
        Some(output) if pipe::is_pipe(output) => {
            archive::compress_to(&file, &mut stdout(), options.preset, &bar)?
        }
        Some(output) => archive::compress_opened(&file, output, options, &bar)?,
        None => return Err(ArchiveError::NoDefaultName { path: args.src.clone() }.into()),
    };
    Ok(Report { output: report.output.clone(), files: vec![report], ..Report::default() })
}
