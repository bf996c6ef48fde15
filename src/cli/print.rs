//! Lines for people and machines. Names and messages may quote a stranger's file, so control
//! characters are shown, not sent to the terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Prints `text` as a line. A reader that has had enough (`bantam inspect m | head`) is no error.
pub fn line(text: impl Display) -> super::Result<()> {
    match writeln!(std::io::stdout(), "{}", harmless(&text.to_string())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints `text` as a line: on stderr if `output` is standard output, which then has the data.
pub fn line_beside(output: Option<&Path>, text: impl Display) -> super::Result<()> {
    match output.is_some_and(super::pipe::is_stdout) {
        true => {
            remark(text);
            Ok(())
        }
        false => line(text),
    }
}

/// Prints a part of a line at once. A reader that has had enough is an error here: what follows
/// would be computed for nobody.
pub fn part(text: &str) -> super::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(harmless(text).as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a remark to stderr.
pub fn remark(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(&text.to_string()));
}

/// Prints an error to stderr; where that is gone too, there is nobody to tell.
pub fn error_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {}", harmless(text));
}

/// Prints what is logged to stderr: warnings, or what `RUST_LOG` asks for.
pub fn log_to_stderr() {
    let environment = env_logger::Env::default().default_filter_or("warn");
    let format = |out: &mut env_logger::fmt::Formatter, record: &log::Record| {
        let (level, text) = (record.level(), harmless(&record.args().to_string()));
        match level {
            log::Level::Error => writeln!(out, "error: {text}"),
            log::Level::Warn => writeln!(out, "warning: {text}"),
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
