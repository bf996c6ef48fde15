//! `bantam inspect`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bantam::archive::{self, Coding, FileReport, Report, TensorReport, WeightSource};
use serde_json::json;

use super::{Result, print, sizes};

#[derive(clap::Args)]
pub struct Args {
    /// A safetensors or GGUF file, or the folder of a model; compressed or not
    src: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let began = Instant::now();
    let mut report = Report { output: args.src.clone(), ..Report::default() };
    let mut compressed = true;
    for path in archive::tensor_files_in(&args.src)? {
        let (file, is_compressed) = read(&path)?;
        compressed &= is_compressed;
        report.files.push(file);
    }
    if args.json {
        print_json(&report, compressed, began)?;
    } else {
        report.files.iter().try_for_each(print_table)?;
        if let Some(rounded) = report.rounded() {
            print::line(sizes::rounded(rounded))?;
        }
        if !compressed {
            print::line(format_args!(
                "not compressed; `bantam compress {}` compresses it",
                args.src.display()
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the tensors of a file, and whether the file is compressed.
fn read(path: &Path) -> Result<(FileReport, bool)> {
    Ok(match WeightSource::open(path)? {
        WeightSource::Compressed(archive) => (archive.report()?, true),
        WeightSource::Plain(file) => {
            let plain = |t: &bantam::tensor::TensorEntry| TensorReport {
                name: t.name.clone(),
                dtype: t.dtype,
                shape: t.shape.clone(),
                quantized: t.quantized.clone(),
                original_bytes: t.range.len(),
                stored_bytes: t.range.len(),
                coding: Coding::Plain,
            };
            let bytes = file.bytes().len() as u64;
            let report = FileReport {
                source: path.into(),
                output: path.into(),
                original_bytes: bytes,
                compressed_bytes: bytes,
                tensors: file.tensors().iter().map(plain).collect(),
            };
            (report, false)
        }
    })
}

fn print_json(report: &Report, compressed: bool, began: Instant) -> Result<()> {
    let mut object = sizes::report_json(report, began.elapsed());
    object["compressed"] = compressed.into();
    object["files"] = json!(report.files.iter().map(|f| f.source.display().to_string()).collect::<Vec<_>>());
    let tensors = report.files.iter().flat_map(|f| &f.tensors);
    for (i, tensor) in tensors.enumerate() {
        object["tensors"][i]["coding"] = sizes::coding_json(&tensor.coding);
    }
    print::line(object)
}

/// Names are untrusted: a longer one must not push everything else off the screen.
const WIDEST_NAME: usize = 80;

fn print_table(file: &FileReport) -> Result<()> {
    let change = sizes::change(file.original_bytes, file.compressed_bytes);
    print::line(format_args!("{}: {} tensors, {change}", file.source.display(), file.tensors.len()))?;
    let width = file
        .tensors
        .iter()
        .map(|t| print::on_a_line(&t.name).chars().count())
        .max()
        .unwrap_or(0)
        .min(WIDEST_NAME);
    for tensor in &file.tensors {
        let bits = tensor.bits_per_weight().map_or("-".into(), |bits| format!("{bits:.2} bits"));
        let (name, dtype, shape) =
            (print::on_a_line(&tensor.name), tensor.type_name(), format!("{:?}", tensor.weight_shape()));
        let coding = sizes::coding_words(&tensor.coding);
        print::line(format_args!("  {name:width$}  {dtype:8} {shape:16} {bits:>12}  {coding}"))?;
    }
    Ok(())
}
