//! The command line. Each subcommand has a file with its `Args` and its `run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use interrupt::Manner;

mod bench;
mod cache;
mod calibrate;
mod chat;
mod checkout;
mod checkpoint_store;
mod clock;
mod completions;
mod compress;
mod context;
mod conversion;
mod decompress;
mod demo;
mod device;
mod devices;
mod extract;
mod failure;
mod finetune;
mod fuse;
mod generated;
mod inspect;
mod interrupt;
mod jobs;
mod kernel;
mod loss_picture;
mod man;
mod open;
mod pipe;
mod plan;
mod print;
mod progress;
mod prompt;
mod residency;
mod result;
mod run;
mod sampling;
mod score;
mod sizes;
mod standard;
mod store;
mod store_name;
mod template;
mod text_file;
mod train;
mod training;
mod verify;
mod waiting;

pub use conversion::{Conversion, Streams};
pub use jobs::Jobs;
pub use result::Result;

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
    /// Compress the built-in model and run it: show sizes, speeds, and that nothing is lost
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
    /// Train a model, with its weights compressed in device memory
    Train(train::Args),
    /// Train an adapter (LoRA) for a model, whose own weights stay as they are
    Finetune(finetune::Args),
    /// Add an adapter (LoRA) to a model's weights, for good
    Fuse(fuse::Args),
    /// Keep many models: each tensor once, and fine-tuned ones as differences
    Store(store::Args),
    /// Measure how fast a device is: memory, kernels, and a model from weights in every form
    Bench(bench::Args),
    /// Print a shell completion script
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

impl Command {
    /// How the process reacts to a signal while this command runs.
    fn manner(&self) -> Manner {
        match self {
            // These clean up what they have begun to write.
            Self::Demo(_)
            | Self::Compress(_)
            | Self::Decompress(_)
            | Self::Extract(_)
            | Self::Train(_)
            | Self::Finetune(_)
            | Self::Fuse(_)
            | Self::Bench(_) => Manner::Ask,
            Self::Store(args) if args.writes() => Manner::Ask,
            _ => Manner::AtOnce,
        }
    }

    /// The model, where it may be one of a store.
    fn model(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Run(args) => Some(&mut args.model.model),
            Self::Chat(args) => Some(&mut args.model.model),
            Self::Plan(args) => Some(&mut args.model.model),
            Self::Score(args) => Some(&mut args.model.model),
            _ => None,
        }
    }
}

/// Parses the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    let color = print::color_of(std::env::args_os());
    let matches = Cli::command().color(color).get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.output.apply();
    interrupt::watch(cli.command.manner());
    match run(&mut cli.command) {
        Ok(code) => code,
        Err(error) => failure::print(&*error),
    }
}

fn run(command: &mut Command) -> Result<ExitCode> {
    let _folder = command.model().map(checkout::of_store).transpose()?;
    match command {
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
        Command::Train(args) => train::run(args),
        Command::Finetune(args) => finetune::run(args),
        Command::Fuse(args) => fuse::run(args),
        Command::Store(args) => store::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Completions(args) => completions::run(args, Cli::command()),
        Command::Man(args) => man::run(args, Cli::command()),
    }
}
