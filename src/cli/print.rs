//! Prints lines for people and machines. Names and messages may quote an untrusted file, so control
//! characters are escaped, not sent to the terminal.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::styling::{AnsiColor, Style};

/// Whether the last output to standard output ended within a line.
static MID_LINE: AtomicBool = AtomicBool::new(false);
static QUIET: AtomicBool = AtomicBool::new(false);
static COLORED: AtomicBool = AtomicBool::new(false);

/// `--color`, `--quiet` and `--verbose`, which every command has.
#[derive(clap::Args)]
pub struct OutputArgs {
    /// When to colour help, errors and warnings
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    color: clap::ColorChoice,
    /// Print only warnings and errors to standard error: no progress, remarks or statistics
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    quiet: bool,
    /// Log what bantam does; -vv and -vvv log more. RUST_LOG gives finer control
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    verbose: u8,
}

impl OutputArgs {
    /// Applies the arguments to all further output.
    pub fn apply(&self) {
        QUIET.store(self.quiet, Ordering::Relaxed);
        let colored = match self.color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => colors_are_welcome(),
        };
        COLORED.store(colored, Ordering::Relaxed);
        log_to_stderr(match self.verbose {
            0 => "warn",
            1 => "warn,bantam=info",
            2 => "warn,bantam=debug",
            _ => "info,bantam=trace",
        });
    }
}

/// The value of `--color`, found before the arguments are parsed: their help and errors are coloured too.
pub fn color_of(args: impl Iterator<Item = std::ffi::OsString>) -> clap::ColorChoice {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let args = args.split(|arg| arg == "--").next().unwrap_or_default();
    let value = |(i, arg): (usize, &String)| match arg.strip_prefix("--color") {
        Some("") => args.get(i + 1).cloned(),
        Some(value) => value.strip_prefix('=').map(String::from),
        None => None,
    };
    let choice = args.iter().enumerate().find_map(value);
    choice.and_then(|choice| choice.parse().ok()).unwrap_or(clap::ColorChoice::Auto)
}

/// Whether stderr shows colours and the environment does not disable them.
fn colors_are_welcome() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb && !cfg!(windows)
}

/// Whether only warnings and errors are wanted.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether standard output is in the middle of a line.
pub fn is_mid_line() -> bool {
    MID_LINE.load(Ordering::Relaxed)
}

/// Prints `text` as a line. It is no error if the reader has closed the output (`bantam inspect m | head`).
pub fn line(text: impl Display) -> super::Result<()> {
    MID_LINE.store(false, Ordering::Relaxed);
    match writeln!(stdout(), "{}", harmless(&text.to_string())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints `text` as a line: on stderr if `output` is standard output, because that carries the data.
pub fn line_beside(output: Option<&Path>, text: impl Display) -> super::Result<()> {
    match output.is_some_and(super::standard::is_stdout) {
        true => {
            beside(text);
            Ok(())
        }
        false => line(text),
    }
}

/// Prints a part of a line and flushes it. Here it is an error if the reader has closed the output: nobody
/// would read what follows.
pub fn part(text: &str) -> super::Result<()> {
    let mut out = stdout();
    if let Some(last) = text.chars().last() {
        MID_LINE.store(last != '\n', Ordering::Relaxed);
    }
    out.write_all(harmless(text).as_bytes())?;
    Ok(out.flush()?)
}

/// Ends an unfinished line.
pub fn end_line() {
    if MID_LINE.swap(false, Ordering::Relaxed) {
        let _ = writeln!(stdout());
        let _ = stdout().flush();
    }
}

/// Prints a remark to stderr, unless only warnings and errors are wanted.
pub fn remark(text: impl Display) {
    if !is_quiet() {
        beside(text);
    }
}

/// Prints a line to stderr.
fn beside(text: impl Display) {
    end_line();
    let _ = writeln!(stderr(), "{}", harmless(&text.to_string()));
}

/// Prints an error to stderr. If stderr is closed too, the error is lost.
pub fn error_line(text: &str) {
    end_line();
    let _ = writeln!(stderr(), "{} {}", label("error:", AnsiColor::Red), harmless(text));
}

/// Prints a warning to stderr.
pub fn warning(text: impl Display) {
    end_line();
    let _ = writeln!(stderr(), "{} {}", label("warning:", AnsiColor::Yellow), harmless(&text.to_string()));
}

/// The word, in colour if colours are on.
fn label(word: &str, color: AnsiColor) -> String {
    match COLORED.load(Ordering::Relaxed) {
        true => {
            let style: Style = color.on_default().bold();
            format!("{style}{word}{style:#}")
        }
        false => word.into(),
    }
}

/// Prints log records to stderr, with the filter of `RUST_LOG`, or else `usual`.
fn log_to_stderr(usual: &str) {
    let environment = env_logger::Env::default().default_filter_or(usual);
    let format = |out: &mut env_logger::fmt::Formatter, record: &log::Record| {
        let (level, text) = (record.level(), harmless(&record.args().to_string()));
        // On a terminal, a log record would continue the line of generated text.
        if is_mid_line() && stdout().is_terminal() && stderr().is_terminal() {
            writeln!(out)?;
        }
        match level {
            log::Level::Error => writeln!(out, "{} {text}", label("error:", AnsiColor::Red)),
            log::Level::Warn => writeln!(out, "{} {text}", label("warning:", AnsiColor::Yellow)),
            _ => writeln!(out, "{} {} {text}", level.as_str().to_lowercase(), record.target()),
        }
    };
    env_logger::Builder::from_env(environment).format(format).init();
}

/// `text` with its control characters escaped; line breaks and tabs stay.
pub fn harmless(text: &str) -> String {
    let escape = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().flat_map(|c| if escape(c) { c.escape_debug().collect() } else { vec![c] }).collect()
}

/// A name with all its control characters escaped, line breaks too, so that it cannot pose as another table
/// row.
pub fn on_a_line(name: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().collect() } else { vec![c] };
    name.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(on_a_line("a\u{1b}[31m\nb  F32\té"), "a\\u{1b}[31m\\nb  F32\\té");
    }

    #[test]
    fn the_choice_of_colours_is_found_before_the_arguments_are_parsed() {
        let of = |args: &[&str]| color_of(args.iter().map(|arg| (*arg).into()));
        assert_eq!(of(&["run", "--color", "never"]), clap::ColorChoice::Never);
        assert_eq!(of(&["run", "--color=always", "m"]), clap::ColorChoice::Always);
        for args in [&["run"][..], &["--color"], &["--color=blue"], &["--", "--color", "never"]] {
            assert_eq!(of(args), clap::ColorChoice::Auto, "{args:?}");
        }
    }
}
