//! Waits that a signal ends, even where what is waited for never comes: a pipe that nobody writes to or reads
//! from, a drive that does not answer.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{interrupt, print};

/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long work has to put away what it has begun, once the user wants to stop.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What `work` gives. If it has not ended `patience` after a signal, the process does.
pub fn at_most<T>(patience: Duration, work: impl FnOnce() -> T) -> T {
    let (ended, end) = channel::<()>();
    let watch = move || {
        let mut since = None;
        // The other side is dropped when the work has ended, however it has.
        while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            match interrupt::interrupted() {
                true if since.get_or_insert_with(Instant::now).elapsed() >= patience => {
                    print::error_line("cancelled; the output was not written");
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
