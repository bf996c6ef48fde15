//! Sessions' passes, each driven by a thread and not by the caller that awaits its result.
//!
//! Sessions share the slots of a ring, and the staging buffers for rows of an embedding. If a pass advanced
//! only when its future is polled, one that is no longer polled would block all others.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::thread::JoinHandle;

use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, FutureExt, select};

use super::error::StreamError;
use super::panics;

/// What the thread does, for messages.
const DOES: &str = "submits passes";

/// Drives passes one after the other. Dropping it waits until the thread has released everything.
#[derive(Debug)]
pub struct Passes {
    jobs: Option<mpsc::Sender<BoxFuture<'static, ()>>>,
    thread: Option<JoinHandle<()>>,
}

/// A pass that has begun.
pub struct Begun<T> {
    /// Its result, or the message of its panic. If this is dropped, the pass ends at its next await.
    pub result: oneshot::Receiver<Result<T, StreamError>>,
    /// Resolved or cancelled as soon as the pass has released everything.
    pub ended: oneshot::Receiver<()>,
}

impl Passes {
    /// Starts the thread.
    pub fn new() -> Result<Self, StreamError> {
        let (jobs, theirs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("bantam-pass".into())
            .spawn(move || theirs.into_iter().for_each(pollster::block_on))
            .map_err(|error| StreamError::no_thread(DOES, error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Begins `pass` after the previous ones have ended. It advances whether or not its result is polled.
    pub fn begin<T: Send + 'static>(&self, pass: impl Future<Output = T> + Send + 'static) -> Begun<T> {
        let (mut done, result) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let job = async move {
            let given = {
                let pass = AssertUnwindSafe(pass).catch_unwind().boxed();
                match select(done.cancellation(), pass).await {
                    Either::Left(_) => None,
                    Either::Right((given, _)) => Some(given),
                }
            };
            if let Some(given) = given {
                let panicked = |payload: Box<dyn Any + Send>| {
                    let message = panics::message(&*payload);
                    StreamError::Panicked { does: DOES, message }
                };
                let _ = done.send(given.map_err(panicked));
            }
            let _ = end.send(());
        };
        // If the job is not accepted, both receivers are cancelled because their senders are dropped.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::pin(job));
        }
        Begun { result, ended }
    }
}

impl Drop for Passes {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_begun_goes_on_unpolled_and_ends_when_nobody_wants_it() {
        let passes = Passes::new().unwrap();
        let first = passes.begin(async { 1 });
        // The first result is never polled.
        let given = |begun: Begun<i32>| pollster::block_on(begun.result).unwrap().unwrap();
        assert_eq!(given(passes.begin(async { 2 })), 2);
        let held = Arc::new(());
        let theirs = held.clone();
        let forever = passes.begin(async move {
            futures::future::pending::<()>().await;
            drop(theirs);
        });
        let after = passes.begin(async { 3 });
        drop(forever.result);
        let _ = pollster::block_on(forever.ended);
        assert_eq!(Arc::strong_count(&held), 1, "it let go of everything");
        assert_eq!((given(after), given(first)), (3, 1));
    }

    #[test]
    fn a_panic_keeps_its_message_and_the_next_pass_is_computed() {
        let passes = Passes::new().unwrap();
        let begun = passes.begin(async { panic!("the slot {} is missing", 3) });
        let error = pollster::block_on(begun.result).unwrap().unwrap_err();
        assert!(error.to_string().contains("panicked: the slot 3 is missing"), "{error}");
        assert_eq!(pollster::block_on(begun.ended), Ok(()));
        assert_eq!(pollster::block_on(passes.begin(async { 2 }).result).unwrap().unwrap(), 2);
    }
}
