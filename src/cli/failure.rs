//! Errors for people: to stderr, with their causes.

use std::error::Error;
use std::process::ExitCode;

use bantam::archive::ArchiveError;
use bantam::bench::BenchError;
use bantam::model::ModelError;

use super::print;

/// `error: what: why: and why that`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors quote their cause themselves.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Prints `error` and gives the exit code: 130 where the user interrupted, as shells have it.
pub fn print(error: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    print::error_line(&chain(error));
    let model = match error.downcast_ref() {
        Some(BenchError::Model(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    let cancelled = match model {
        Some(ModelError::Archive(error)) => matches!(error, ArchiveError::Cancelled),
        _ => matches!(error.downcast_ref(), Some(ArchiveError::Cancelled)),
    };
    match cancelled {
        true => ExitCode::from(130),
        false => ExitCode::FAILURE,
    }
}
