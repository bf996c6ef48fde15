//! `bantam man`

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, Result};

#[derive(clap::Args)]
pub struct Args {
    /// Command whose page to print; by default the page of bantam itself
    command: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut bantam = Cli::command();
    // Names of commands are whole then, and all of them have the arguments that every command has.
    bantam.build();
    let page = match &args.command {
        None => Man::new(bantam),
        Some(name) => {
            let command = bantam.find_subcommand(name);
            let command = command.ok_or_else(|| format!("there is no command {name:?}; see bantam help"))?;
            Man::new(command.clone())
        }
    };
    let mut roff = Vec::new();
    page.render(&mut roff)?;
    stdout().write_all(&roff)?;
    Ok(ExitCode::SUCCESS)
}
