//! `bantam bench`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam::bench::{Bench, Effort, Record, SIZES, Size};
use bantam::gpu::{Gpu, GpuOptions};
use pollster::block_on;

use super::device::DeviceArgs;
use super::kernel::KernelArgs;
use super::progress::Bar;
use super::standard::is_stdout;
use super::{Result, print, text_file};

pub mod table;

#[derive(clap::Args)]
pub struct Args {
    /// Model folder or safetensors file, compressed or not; by default, bench makes a model of random
    /// weights. After --json, - is standard output
    model: Option<PathBuf>,
    /// Size of the model that bench makes; the temporary folder needs free space for about 1.7 times its
    /// bytes
    #[arg(long, value_name = "SIZE", value_parser = size_named, default_value = SIZES[0].name, conflicts_with = "model")]
    size: &'static Size,
    /// Measure briefly: this checks that everything works, but says little about speed
    #[arg(long)]
    quick: bool,
    /// Measure only these sections
    #[arg(long, value_enum, value_name = "SECTION", value_delimiter = ',')]
    only: Vec<Section>,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write a record of all measurements, as JSON; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Print one JSON object, the record, and no tables
    #[arg(long)]
    json: bool,
}

/// A section that can be measured alone, in the order of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// The first call of each kernel, which compiles it
    FirstCalls,
    /// Copying from buffer to buffer
    Copy,
    /// Decoding tensors of every floating-point type
    Decode,
    /// Matrices times vectors
    Matvec,
    /// Matrices times batches
    Matmul,
    /// Tokens a second of a model
    Model,
}

fn size_named(name: &str) -> std::result::Result<&'static Size, String> {
    let names = || SIZES.map(|size| size.name).join(", ");
    Size::named(name).ok_or_else(|| format!("use one of {}", names()))
}

impl Args {
    /// The model to measure. `--json -` is `--json`: a model does not come from standard input.
    fn model(&self) -> Result<Option<&Path>> {
        match self.model.as_deref() {
            Some(path) if is_stdout(path) && self.json => Ok(None),
            Some(path) if is_stdout(path) => {
                Err("a model cannot be read from standard input; name its folder or file".into())
            }
            model => Ok(model),
        }
    }

    /// Whether the record goes to standard output.
    fn prints_record(&self) -> bool {
        self.json || self.output.as_deref().is_some_and(is_stdout)
    }

    /// The file to write the record to. If the file exists, this fails before anything is measured.
    fn file(&self) -> Result<Option<&Path>> {
        let file = self.output.as_deref().filter(|path| !is_stdout(path));
        match file {
            Some(path) if path.symlink_metadata().is_ok() && !self.force => {
                Err(format!("{} exists already; --force replaces it", path.display()).into())
            }
            file => Ok(file),
        }
    }

    /// Prints results for people.
    fn say(&self, text: impl std::fmt::Display) -> Result<()> {
        if self.prints_record() { Ok(()) } else { print::line(text) }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (model, file) = (args.model()?, args.file()?);
    let bar = Bar::default();
    let gpu = block_on(Gpu::open(&GpuOptions { timestamps: true, ..args.device.options() }))?;
    let gpu = args.kernel.choose(gpu, &args.device)?;
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut bench = Bench::new(&gpu, effort, &bar)?;
    let mut record = Record::new(&gpu, args.quick);
    args.say(table::machine(&record.machine))?;
    block_on(measure(args, model, &mut bench, &mut record))?;
    record.clock = bench.clock();
    let clock = match record.clock {
        "timestamps" => "the device's timestamps",
        _ => "the host",
    };
    args.say(format_args!("\nKernels were timed by {clock}, the rest by the host. Times are medians."))?;
    if let Some(path) = file {
        text_file::write(path, &(serde_json::to_string_pretty(&record)? + "\n"), args.force)?;
    }
    if args.prints_record() {
        print::line(serde_json::to_string(&record)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures section after section, and prints each as soon as it is done.
async fn measure(
    args: &Args,
    model: Option<&Path>,
    bench: &mut Bench<'_>,
    record: &mut Record,
) -> Result<()> {
    let wanted = |section| args.only.is_empty() || args.only.contains(&section);
    if wanted(Section::FirstCalls) {
        args.say(table::first_calls(record.first_calls.insert(bench.first_calls().await?)))?;
    }
    if wanted(Section::Copy) {
        args.say(table::copy(record.copy.insert(bench.copy().await?)))?;
    }
    if wanted(Section::Decode) {
        args.say(table::decode(record.decode.insert(bench.decode().await?)))?;
    }
    if wanted(Section::Matvec) {
        args.say(table::matvec(record.matvec.insert(bench.matvec().await?)))?;
    }
    if wanted(Section::Matmul) {
        args.say(table::matmul(record.matmul.insert(bench.matmul().await?)))?;
    }
    if wanted(Section::Model) {
        let figures = match model {
            Some(path) => bench.model(path).await?,
            None => bench.synthetic(args.size).await?,
        };
        args.say(table::model(record.model.insert(figures)))?;
    }
    Ok(())
}
