//! Lets a signal end a wait, even for something that never comes: a pipe without a writer or reader, a drive
//! that does not answer.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{interrupt, print};

/// How often to look for a signal.
const LOOK: Duration = Duration::from_millis(20);

/// How long an operation may take to clean up after the user asked to stop.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Returns the result of `work`, which writes an output. If `work` does not end within `patience` after a signal, says
/// so and ends the process.
pub fn at_most<T>(patience: Duration, work: impl FnOnce() -> T) -> T {
    watched(patience, || print::error_line("cancelled; the output was not written"), work)
}

/// Returns the result of `work`, which prints text for a reader that may have stopped reading. If `work` does not end
/// soon after a signal, ends the process.
pub fn for_a_reader<T>(work: impl FnOnce() -> T) -> T {
    watched(PATIENCE, || (), work)
}

fn watched<T>(patience: Duration, tell: impl Fn() + Send + 'static, work: impl FnOnce() -> T) -> T {
    let (ended, end) = channel::<()>();
    let watch = move || {
        let mut since = None;
        // The sender is dropped when the work ends, for whatever reason.
        while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            match interrupt::interrupted() {
                true if since.get_or_insert_with(Instant::now).elapsed() >= patience => {
                    tell();
                    interrupt::end(interrupt::code());
                }
                true => {}
                false => since = None,
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("waiting".into()).spawn(watch) {
        log::debug!("cannot start the thread that ends waits on a signal: {error}");
    }
    let done = work();
    drop(ended);
    done
}
