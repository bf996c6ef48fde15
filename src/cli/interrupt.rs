//! Ctrl-C asks the running operation to stop, so that it can remove its temporary files.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bantam::archive::ArchiveError;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to listen. A second Ctrl-C ends the process at once.
pub fn watch() {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        log::debug!("cannot listen for Ctrl-C: {error}");
    }
}

/// Whether the user wants to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// What `work` gives, or an error once the user wants to stop. That is seen whenever `work` goes on: of a prompt,
/// after each batch of tokens.
pub async fn unless_interrupted<F: Future>(work: F) -> Result<F::Output, ArchiveError> {
    let mut work = pin!(work);
    poll_fn(|context| match interrupted() {
        true => Poll::Ready(Err(ArchiveError::Cancelled)),
        false => work.as_mut().poll(context).map(Ok),
    })
    .await
}
