//! `bantam bench`

use std::path::PathBuf;
use std::process::ExitCode;

use bantam::bench::{Bench, Effort, Record, SIZES, Size};
use bantam::gpu::{Gpu, GpuOptions};
use pollster::block_on;

use super::kernel::KernelArgs;
use super::open::DeviceArgs;
use super::progress::Bar;
use super::{Result, print};

pub mod table;

#[derive(clap::Args)]
pub struct Args {
    /// Model folder or safetensors file, compressed or not; by default one is made of random weights
    model: Option<PathBuf>,
    /// Size of the model that is made; it takes about 1.7 times its bytes in the temporary folder
    #[arg(long, value_name = "SIZE", value_parser = size_named, default_value = SIZES[0].name, conflicts_with = "model")]
    size: &'static Size,
    /// Measure little: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Measure only some of the sections
    #[arg(long, value_enum, value_name = "SECTION", value_delimiter = ',')]
    only: Vec<Section>,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write a record of everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be measured alone, in the order of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// The first call of a kernel, with its compilation
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
    Size::named(name).ok_or_else(|| format!("there are {}", names()))
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let bar = Bar::default();
    let gpu = block_on(Gpu::open(&GpuOptions { timestamps: true, ..args.device.options() }))?;
    let gpu = args.kernel.choose(gpu, &args.device)?;
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut bench = Bench::new(&gpu, effort, &bar)?;
    let mut record = Record::new(&gpu, args.quick);
    print::line(table::machine(&record.machine))?;
    block_on(measure(args, &mut bench, &mut record))?;
    record.clock = bench.clock();
    let clock = match record.clock {
        "timestamps" => "the device's timestamps",
        _ => "the host",
    };
    print::line(format_args!("\nKernels were timed by {clock}, all else by the host. Times are medians."))?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&record)? + "\n";
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures section after section, and prints each when it is done.
async fn measure(args: &Args, bench: &mut Bench<'_>, record: &mut Record) -> Result<()> {
    let wanted = |section| args.only.is_empty() || args.only.contains(&section);
    if wanted(Section::FirstCalls) {
        print::line(table::first_calls(record.first_calls.insert(bench.first_calls().await?)))?;
    }
    if wanted(Section::Copy) {
        print::line(table::copy(record.copy.insert(bench.copy().await?)))?;
    }
    if wanted(Section::Decode) {
        print::line(table::decode(record.decode.insert(bench.decode().await?)))?;
    }
    if wanted(Section::Matvec) {
        print::line(table::matvec(record.matvec.insert(bench.matvec().await?)))?;
    }
    if wanted(Section::Matmul) {
        print::line(table::matmul(record.matmul.insert(bench.matmul().await?)))?;
    }
    if wanted(Section::Model) {
        let figures = match &args.model {
            Some(path) => bench.model(path).await?,
            None => bench.synthetic(args.size).await?,
        };
        print::line(table::model(record.model.insert(figures)))?;
    }
    Ok(())
}
