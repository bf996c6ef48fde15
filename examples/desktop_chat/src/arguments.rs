//! What the program is started with.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` says.
pub const HELP: &str = "\
A desktop chat with a language model, compressed or not, on the window's own device.

Usage: desktop-chat [OPTIONS] [FOLDER]

Arguments:
  [FOLDER]           Model folder to open

Options:
      --adapter DIR  Folder of an adapter (LoRA) to open the model with
      --scale N      Scale of the window's contents [default: 1]
      --drive FILE   Run the steps of a script, then exit; src/drive.rs lists the steps
      --limit S      Maximum seconds for a script [default: 300]
  -h, --help         Print help";

/// The arguments, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments {
    pub folder: Option<String>,
    pub adapter: Option<String>,
    pub scale: f32,
    pub drive: Option<PathBuf>,
    pub limit: Duration,
    pub help: bool,
}

impl Arguments {
    /// Checks what the program was started with.
    pub fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let limit = Duration::from_secs(300);
        let mut parsed = Self { folder: None, adapter: None, scale: 1.0, drive: None, limit, help: false };
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--adapter" => parsed.adapter = Some(value()?),
                "--scale" => parsed.scale = number(&value()?, 0.5..=4.0)?,
                "--drive" => parsed.drive = Some(value()?.into()),
                "--limit" => parsed.limit = Duration::from_secs_f32(number(&value()?, 1.0..=1e6)?),
                "-h" | "--help" => parsed.help = true,
                option if option.starts_with('-') => return Err(format!("there is no option {option}")),
                _ if parsed.folder.is_some() => return Err("one folder is enough".into()),
                _ => parsed.folder = Some(argument),
            }
        }
        Ok(parsed)
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<f32>) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, String> {
        Arguments::parse(text.split_whitespace().map(Into::into))
    }

    #[test]
    fn arguments_are_checked() {
        let parsed = parse("--scale 2 models/one --adapter tone --drive steps --limit 60").unwrap();
        assert_eq!(parsed.adapter.as_deref(), Some("tone"));
        assert_eq!((parsed.folder.as_deref(), parsed.scale), (Some("models/one"), 2.0));
        assert_eq!((parsed.drive, parsed.limit), (Some("steps".into()), Duration::from_secs(60)));
        for (text, why) in [
            ("--scale", "--scale needs a value"),
            ("--scale 9", "\"9\" is not a number from 0.5 to 4"),
            ("--fast", "there is no option --fast"),
            ("a b", "one folder is enough"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
    }
}
