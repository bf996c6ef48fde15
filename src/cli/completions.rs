//! `bantam completions`

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use super::Result;

#[derive(clap::Args)]
pub struct Args {
    /// The shell; for bash, run `bantam completions bash > ~/.local/share/bash-completion/completions/bantam`
    shell: Shell,
}

pub fn run(args: &Args, mut bantam: Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut bantam, "bantam", &mut script);
    stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
