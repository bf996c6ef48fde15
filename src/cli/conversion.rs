//! What `compress` and `decompress` have in common.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam::archive::Report;

use super::{Jobs, Result, pipe, print};

/// What `compress` and `decompress` have in common.
#[derive(clap::Args)]
pub struct Conversion {
    /// A safetensors or GGUF file, or the folder of a model; - is standard input
    pub src: PathBuf,
    /// Output path; by default next to the source; - is standard output
    #[arg(short, long, value_name = "DST")]
    pub output: Option<PathBuf>,
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
    /// Success, if all that belongs into the output is there, or need not be.
    pub fn exit_code(&self, report: &Report) -> ExitCode {
        let left_out = report.left_out.len();
        if left_out == 0 || self.skip_unreadable {
            return ExitCode::SUCCESS;
        }
        print::error_line(&format!(
            "{}: complete except for {left_out} entries that could not be copied (named above); \
             --skip-unreadable allows that",
            report.output.display()
        ));
        ExitCode::FAILURE
    }

    /// What is written where, if source or output is read or written in order; `default` makes an output's
    /// name of the source's. What cannot be is refused now, before there is anything to lose.
    pub fn streams(&self, default: impl FnOnce(&Path) -> Option<PathBuf>) -> Result<Option<Streams>> {
        let is_through = self.output.as_deref().is_some_and(pipe::is_written_in_order);
        if !is_through && !pipe::is_stream(&self.src) {
            return Ok(None);
        }
        let output = pipe::output_of(&self.src, self.output.as_deref(), default)?;
        let to = pipe::destination(&output)?;
        Ok(Some(Streams { to, output }))
    }

    /// Says how it went, on stderr if standard output is the file itself.
    pub fn say(&self, text: impl std::fmt::Display) -> Result<()> {
        print::line_beside(self.output.as_deref(), text)
    }
}

/// A conversion from or to something that is read or written in order.
pub struct Streams {
    /// Where to write in order, if the output is of that kind.
    pub to: Option<Box<dyn Write + Send>>,
    pub output: PathBuf,
}
