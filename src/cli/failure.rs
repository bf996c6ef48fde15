//! Prints errors to stderr, with their causes.

use std::error::Error;
use std::io::ErrorKind;
use std::process::ExitCode;

use bantam::archive::ArchiveError;
use bantam::bench::BenchError;
use bantam::model::ModelError;
use bantam::store::StoreError;

use super::interrupt::{self, Interrupted};
use super::print;

/// The exit code if the reader of the output is gone: that of SIGPIPE in shells.
pub const CLOSED_PIPE: u8 = 141;

/// `error: what: why: and why that`, the chain of causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors quote their cause already.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Whether the reader of the output is gone.
pub fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Prints `error` and returns the exit code. If the user interrupted, or the reader of the output is gone,
/// prints nothing and returns the code that shells give that signal.
pub fn print(error: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::from(CLOSED_PIPE);
    }
    if error.is::<Interrupted>() {
        return ExitCode::from(interrupt::code());
    }
    print::error_line(&chain(error));
    let model = match error.downcast_ref() {
        Some(BenchError::Model(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    let cancelled = match model {
        Some(ModelError::Archive(error)) => matches!(error, ArchiveError::Cancelled),
        _ => {
            matches!(error.downcast_ref(), Some(ArchiveError::Cancelled))
                || matches!(
                    error.downcast_ref(),
                    Some(StoreError::Cancelled | StoreError::Archive(ArchiveError::Cancelled))
                )
        }
    };
    match cancelled {
        true => ExitCode::from(interrupt::code()),
        false => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_seen_however_deep_it_is() {
        let pipe = || std::io::Error::from(ErrorKind::BrokenPipe);
        let write = |source| ArchiveError::Io { doing: "write", path: "(standard output)".into(), source };
        assert!(is_closed_pipe(&pipe()));
        assert!(is_closed_pipe(&write(pipe())));
        assert!(!is_closed_pipe(&write(ErrorKind::StorageFull.into())));
    }
}
