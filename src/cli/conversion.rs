//! Arguments and code that `compress` and `decompress` share.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam::archive::{ModelFiles, Report};

use super::{Jobs, Result, pipe, print};

/// Arguments that `compress` and `decompress` share.
#[derive(clap::Args)]
pub struct Conversion {
    /// A safetensors or GGUF file, or the folder of a model; - is standard input
    pub src: PathBuf,
    /// Output path; by default next to the source; - is standard output
    #[arg(short, long, value_name = "DST")]
    pub output: Option<PathBuf>,
    /// The model to which tensors are stored as differences: a file or a folder, compressed or not. The one
    /// that a file was compressed with is needed to decompress it
    #[arg(long, value_name = "MODEL")]
    pub base: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long)]
    pub force: bool,
    /// Skip files of a folder that cannot be copied, such as broken links; without this option they make the
    /// exit code 1. Weights are never skipped
    #[arg(long)]
    pub skip_unreadable: bool,
    #[command(flatten)]
    pub jobs: Jobs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Conversion {
    /// The model to which tensors are stored as differences.
    pub fn base(&self) -> Result<Option<ModelFiles>> {
        Ok(self.base.as_deref().map(ModelFiles::open).transpose()?)
    }

    /// Success if the output is complete, or need not be.
    pub fn exit_code(&self, report: &Report) -> ExitCode {
        let left_out = report.left_out.len();
        if left_out == 0 || self.skip_unreadable {
            return ExitCode::SUCCESS;
        }
        print::error_line(&format!(
            "{}: complete except for {left_out} entries that could not be copied (named above); \
             --skip-unreadable makes this a success",
            report.output.display()
        ));
        ExitCode::FAILURE
    }

    /// Source and output, if either is read or written in order; `default` makes the output's name from the
    /// source's. Fails now if either is impossible, before anything can be lost.
    pub fn streams(&self, default: impl FnOnce(&Path) -> Option<PathBuf>) -> Result<Option<Streams>> {
        let is_through = self.output.as_deref().is_some_and(pipe::is_written_in_order);
        if !is_through && !pipe::is_stream(&self.src) {
            return Ok(None);
        }
        let output = pipe::output_of(&self.src, self.output.as_deref(), default)?;
        let to = pipe::destination(&output)?;
        Ok(Some(Streams { to, output }))
    }

    /// Prints the result: on stderr if standard output carries the file itself.
    pub fn say(&self, text: impl std::fmt::Display) -> Result<()> {
        print::line_beside(self.output.as_deref(), text)
    }
}

/// A conversion whose source is read in order, or whose output is written in order.
pub struct Streams {
    /// The writer, if the output is written in order.
    pub to: Option<Box<dyn Write + Send>>,
    pub output: PathBuf,
}
