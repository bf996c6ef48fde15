//! `bantam compress`

use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{self, Lossy, Options, Preset, Report, names};

use super::progress::Bar;
use super::{Conversion, Result, Streams, pipe, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    conversion: Conversion,
    /// Optimise for size or speed
    #[arg(long, value_enum, default_value_t = PresetArg::Small)]
    preset: PresetArg,
    /// Round matrices to 1 to 6 mantissa bits (k1 to k6): a smaller file, but the original cannot be restored
    #[arg(long, value_name = "K", value_parser = parse_bits, conflicts_with = "base")]
    lossy: Option<u8>,
    /// Number of rounded weights in a row that share one scale: a multiple of 16, up to 1024
    #[arg(long, value_name = "N", default_value_t = Lossy::BLOCK, requires = "lossy")]
    block: usize,
}

/// Parses `k3`, as in `--precision`.
fn parse_bits(text: &str) -> std::result::Result<u8, String> {
    let bits = text.strip_prefix('k').and_then(|bits| bits.parse().ok());
    let bits = bits.ok_or("write k and a number of mantissa bits, from k1 to k6")?;
    let lossy = Lossy::new(bits, Lossy::BLOCK).map_err(|error| error.to_string())?;
    Ok(lossy.mantissa_bits())
}

/// `--preset`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PresetArg {
    /// The smallest file
    Small,
    /// A slightly larger file that is faster to write and to read
    Fast,
}

impl From<PresetArg> for Preset {
    fn from(arg: PresetArg) -> Self {
        match arg {
            PresetArg::Small => Self::Small,
            PresetArg::Fast => Self::Fast,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let preset = args.preset.into();
    let lossy = args.lossy.map(|bits| Lossy::new(bits, args.block)).transpose()?;
    let args = &args.conversion;
    let options = Options::DEFAULT.with_overwrite(args.force).with_preset(preset).with_lossy(lossy);
    let options = options.with_base(args.base()?);
    let began = Instant::now();
    let report = args.jobs.run(|| compress(args, &options))??;
    let time = began.elapsed();
    if let (tensors @ 1.., bytes) = report.quantized() {
        let size = sizes::megabytes(bytes);
        print::remark(format_args!(
            "{tensors} quantised tensors ({size}) are coded byte by byte: they hardly compress"
        ));
    }
    report.larger().for_each(|file| print::remark(sizes::larger(file)));
    match report.rounded() {
        Some(rounded) => print::remark(sizes::rounded(rounded)),
        None if options.lossy.is_some() => print::remark("no tensor could be rounded: the file is lossless"),
        None => {}
    }
    if args.json {
        args.say(sizes::report_json(&report, time))?;
    } else {
        let (original, compressed) = (report.original_bytes(), report.compressed_bytes());
        let (change, speed) = (sizes::change(original, compressed), sizes::speed(original, time));
        args.say(format_args!("{}: {change}{speed}", report.output.display()))?;
    }
    Ok(args.exit_code(&report))
}

fn compress(args: &Conversion, options: &Options) -> Result<Report> {
    let (output, bar) = (args.output.as_deref(), Bar::default());
    let Some(streams) = args.streams(names::default_compressed)? else {
        return Ok(archive::compress(&args.src, output, options, &bar)?);
    };
    let file = pipe::open(&args.src, args.output.as_deref())?;
    let report = match streams {
        Streams { to: Some(mut to), .. } => archive::compress_to(&file, &mut to, options.clone(), &bar)?,
        Streams { to: None, output } => archive::compress_opened(&file, &output, options, &bar)?,
    };
    Ok(Report { output: report.output.clone(), files: vec![report], ..Report::default() })
}
