//! `bantam man`

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Command whose page to print; by default the page of bantam itself
    command: Option<String>,
}

pub fn run(args: &Args, mut bantam: Command) -> Result<ExitCode> {
    // This gives commands their full names and the global arguments.
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
