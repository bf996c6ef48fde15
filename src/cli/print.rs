//! Lines on stdout.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints `text` as a line. A reader that has had enough (`bantam inspect m | head`) is no error.
pub fn line(text: impl Display) -> super::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
