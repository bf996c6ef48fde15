//! The command line: one file a subcommand, each with its `Args` and a `run`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam::archive::Report;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use interrupt::Manner;

mod bench;
mod calibrate;
mod chat;
mod clock;
mod completions;
mod compress;
mod decompress;
mod demo;
mod devices;
mod extract;
mod failure;
mod generated;
mod inspect;
mod interrupt;
mod kernel;
mod man;
mod open;
mod pipe;
mod plan;
mod print;
mod progress;
mod prompt;
mod residency;
mod run;
mod sampling;
mod score;
mod sizes;
mod template;
mod verify;
mod waiting;

/// What a subcommand returns: an error is printed with its causes, and the exit code is 1.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Neural-network weights, losslessly compressed.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: print::OutputArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    success: every check passed
  1    failure: an error, or a check that did not pass
  2    invalid arguments
  129  the terminal was closed (SIGHUP)
  130  interrupted (Ctrl-C, SIGINT)
  141  the reader of the output closed it (SIGPIPE)
  143  terminated (SIGTERM)

`bantam help COMMAND` describes a command in full.";

#[derive(Subcommand)]
enum Command {
    /// Compress and run the built-in model: show sizes, speeds, and that nothing is lost
    Demo(demo::Args),
    /// Compress a safetensors file, a GGUF file or a model folder
    Compress(compress::Args),
    /// Restore the original of a compressed file or model folder, byte for byte
    Decompress(decompress::Args),
    /// Show tensors, how they are stored, and their sizes
    Inspect(inspect::Args),
    /// Check that every tensor decodes to the bytes that were compressed
    Verify(verify::Args),
    /// Write one tensor, or rows of one, as raw little-endian bytes
    Extract(extract::Args),
    /// List the adapters that can be used
    Devices(devices::Args),
    /// Time the kernels on a device, and store which are fastest for the other commands
    Calibrate(calibrate::Args),
    /// Generate text from a model, compressed or not
    Run(run::Args),
    /// Chat with a model, compressed or not
    Chat(chat::Args),
    /// Show which weights fit a memory budget, which are streamed, and the expected speed
    Plan(plan::Args),
    /// Measure the perplexity of a text under a model
    Score(score::Args),
    /// Measure how fast a device is: memory, kernels, and a model from weights in every form
    Bench(bench::Args),
    /// Print a shell completion script
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

impl Command {
    /// What a signal does while it runs.
    fn manner(&self) -> Manner {
        match self {
            // They put away what they have begun to write.
            Self::Demo(_) | Self::Compress(_) | Self::Decompress(_) | Self::Extract(_) | Self::Bench(_) => {
                Manner::Ask
            }
            _ => Manner::AtOnce,
        }
    }
}

/// Parses the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    let color = print::color_of(std::env::args_os());
    let matches = Cli::command().color(color).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.output.apply();
    interrupt::watch(cli.command.manner());
    let result = match &cli.command {
        Command::Compress(args) => compress::run(args),
        Command::Decompress(args) => decompress::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Extract(args) => extract::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Run(args) => run::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Score(args) => score::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => failure::print(&*error),
    }
}

/// What `compress` and `decompress` have in common.
#[derive(clap::Args)]
struct Conversion {
    /// A safetensors or GGUF file, or the folder of a model; - is standard input
    src: PathBuf,
    /// Output path; by default next to the source; - is standard output
    #[arg(short, long, value_name = "DST")]
    output: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Skip files of a folder that cannot be copied, such as broken links; without this option they make the
    /// exit code 1. Weights are never skipped
    #[arg(long)]
    skip_unreadable: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Conversion {
    /// Success, if all that belongs into the output is there, or need not be.
    fn exit_code(&self, report: &Report) -> ExitCode {
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
    fn streams(&self, default: impl FnOnce(&Path) -> Option<PathBuf>) -> Result<Option<Streams>> {
        let is_through = self.output.as_deref().is_some_and(pipe::is_written_in_order);
        if !is_through && !pipe::is_stream(&self.src) {
            return Ok(None);
        }
        let output = pipe::output_of(&self.src, self.output.as_deref(), default)?;
        let to = pipe::destination(&output)?;
        Ok(Some(Streams { to, output }))
    }

    /// Says how it went, on stderr if standard output is the file itself.
    fn say(&self, text: impl std::fmt::Display) -> Result<()> {
        print::line_beside(self.output.as_deref(), text)
    }
}

/// A conversion from or to something that is read or written in order.
struct Streams {
    /// Where to write in order, if the output is of that kind.
    to: Option<Box<dyn Write + Send>>,
    output: PathBuf,
}

#[derive(clap::Args)]
struct Jobs {
    /// Threads to use; by default one for each core
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
}

impl Jobs {
    /// Runs `work` on that many threads. A signal ends it soon, whatever it waits for.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.jobs).build()?;
        Ok(waiting::at_most(waiting::PATIENCE, || pool.install(work)))
    }
}
