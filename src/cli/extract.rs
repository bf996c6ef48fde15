//! `bantam extract`

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{Options, Weight, WeightSource};
use serde_json::json;

use super::progress::Bar;
use super::{Jobs, Result, pipe, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    /// A safetensors or GGUF file, compressed or not, or the folder of a model; - is standard input
    src: PathBuf,
    /// The tensor's name
    tensor: String,
    /// Output file; by default TENSOR.bin in the current folder; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only rows A to B - 1, counted from 0 along the first dimension
    #[arg(long, value_name = "A..B", value_parser = parse_rows)]
    rows: Option<Range<usize>>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Parses `3..7`. Without the first or last number, the range begins at row 0 or ends with the last row.
fn parse_rows(text: &str) -> std::result::Result<Range<usize>, String> {
    let number = |text: &str, otherwise| match text {
        "" => Ok(otherwise),
        _ => text.parse().map_err(|_| format!("{text:?} is not a row number")),
    };
    let (start, end) =
        text.split_once("..").ok_or("write rows as A..B: the first row, and one past the last")?;
    Ok(number(start, 0)?..number(end, usize::MAX)?)
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let began = Instant::now();
    let output = match &args.output {
        Some(output) => output.clone(),
        None => default_output(&args.tensor)?,
    };
    let to = pipe::destination(&output)?;
    let source = match pipe::is_stream(&args.src) {
        true => WeightSource::from_file(pipe::open(&args.src, Some(&output))?)?,
        false => WeightSource::holding(&args.src, &args.tensor)?,
    };
    let weight = source.require(&args.tensor)?;
    let first = weight.shape.first().copied().unwrap_or(0);
    let rows = args.rows.clone().map(|rows| match rows.end {
        usize::MAX => rows.start..first,
        _ => rows,
    });
    let range = match &rows {
        Some(rows) => weight.bytes_of_rows(rows.clone())?,
        None => 0..weight.original_len,
    };
    let options = Options::DEFAULT.with_overwrite(args.force);
    let (bytes, bar) = (range.len(), Bar::default());
    args.jobs.run(|| match to {
        Some(mut to) => weight.extract_to(range, &mut to, &bar),
        None => weight.extract(range, &output, &options, &bar),
    })??;
    report(args, &weight, rows, &output, bytes, began)?;
    Ok(ExitCode::SUCCESS)
}

/// The tensor's name is untrusted and must not choose a folder.
fn default_output(tensor: &str) -> Result<PathBuf> {
    let name = format!("{tensor}.bin");
    match Path::new(&name).file_name() == Some(name.as_ref()) && !name.contains(['\\', ':', '\0']) {
        true => Ok(name.into()),
        false => Err(format!("{tensor:?} cannot be part of a file name; name an output (-o)").into()),
    }
}

fn report(
    args: &Args,
    weight: &Weight,
    rows: Option<Range<usize>>,
    output: &Path,
    bytes: usize,
    began: Instant,
) -> Result<()> {
    let mut shape = weight.shape.to_vec();
    if let (Some(first), Some(rows)) = (shape.first_mut(), &rows) {
        *first = rows.len();
    }
    let dtype = weight.dtype.to_string();
    if let Some(lossy) = weight.lossy() {
        print::remark(format_args!("lossy: the tensor was rounded to {lossy} and differs from the original"));
    }
    if args.json {
        let object = json!({
            "output": output.display().to_string(),
            "tensor": weight.name,
            "dtype": dtype,
            "shape": shape,
            "rows": rows.map(|rows| [rows.start, rows.end]),
            "bytes": bytes,
            "lossy": weight.lossy().map(sizes::lossy_json),
            "seconds": began.elapsed().as_secs_f64(),
        });
        return print::line_beside(Some(output), object);
    }
    let size = sizes::megabytes(bytes as u64);
    let text = format!("{}: {dtype} {shape:?}, {size}", output.display());
    print::line_beside(Some(output), text)
}
