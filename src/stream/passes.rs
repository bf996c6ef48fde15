//! Passes of sessions, each driven by a thread and not by whoever waits for its result.
//!
//! Sessions share the slots of a ring, and the staging buffers that rows of an embedding go through. One that was
//! begun and is not polled any more would keep them from all others, if it went on only when it is polled.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::thread::JoinHandle;

use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, FutureExt, select};

use super::error::StreamError;
use super::panics;

/// What the thread does.
const DOES: &str = "submits passes";

/// Drives passes one after the other. When this is dropped, the thread has let go of everything.
#[derive(Debug)]
pub struct Passes {
    jobs: Option<mpsc::Sender<BoxFuture<'static, ()>>>,
    thread: Option<JoinHandle<()>>,
}

/// A pass that was begun.
pub struct Begun<T> {
    /// What it gives, or the message of its panic. Where this is dropped, the pass ends where it waits.
    pub result: oneshot::Receiver<Result<T, StreamError>>,
    /// Resolved, with whatever, as soon as it has let go of everything.
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

    /// Begins `pass` when those before it have ended. It goes on whether anybody polls its result or not.
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
        // Where nobody takes it, both are told by their other ends being dropped.
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
        // Nobody polls the first.
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
