//! A thread that reads and checks files while a model is loaded, so that the polling task does not wait for
//! them.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::task::AtomicWaker;

use crate::archive::{ArchiveError, Progress};
use crate::model::error::ModelError;
use crate::stream::StreamError;
use crate::stream::panics::caught;

type Job = Box<dyn FnOnce() + Send>;

/// What the thread does, for errors.
const DOES: &str = "reads weights";

/// Runs one job after another, until the caller's progress says that loading is cancelled. Dropping this
/// waits for the thread to end: its last job checks whether it is still [wanted](Wanted).
pub(crate) struct Reading<'a> {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    progress: &'a dyn Progress,
    wanted: Wanted,
}

/// Whether somebody still wants the thread's work.
#[derive(Clone, Default)]
pub(crate) struct Wanted(Arc<State>);

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    /// The waker of the task that waits for the thread.
    waiting: AtomicWaker,
}

impl Wanted {
    /// Returns an error once nobody wants the work. Only the waiting task may ask the caller's progress, so this
    /// wakes that task too: call it every few megabytes.
    pub fn check(&self) -> Result<(), ArchiveError> {
        self.0.waiting.wake();
        match self.0.cancelled.load(Ordering::Relaxed) {
            true => Err(ArchiveError::Cancelled),
            false => Ok(()),
        }
    }

    fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

impl<'a> Reading<'a> {
    /// Starts the thread. It stops when `progress` is cancelled.
    pub fn new(progress: &'a dyn Progress) -> Result<Self, ModelError> {
        let (jobs, theirs) = mpsc::channel::<Job>();
        let work = move || theirs.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new()
            .name("bantam-load".into())
            .spawn(work)
            .map_err(|error| StreamError::no_thread(DOES, error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), progress, wanted: Wanted::default() })
    }

    /// Returns an error if the caller's progress is cancelled.
    pub fn check(&self) -> Result<(), ModelError> {
        match self.progress.cancelled() {
            true => Err(ArchiveError::Cancelled.into()),
            false => Ok(()),
        }
    }

    /// Runs `work` on the thread and returns its result. Cancelling ends the wait at once.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Wanted) -> T + Send + 'static,
    ) -> Result<T, ModelError> {
        let (done, mut result) = oneshot::channel();
        let wanted = self.wanted.clone();
        let job = move || {
            // The caller may have stopped waiting.
            if !done.is_canceled() {
                let _ = done.send(caught(|| work(&wanted)));
            }
        };
        // If the thread does not take the job, dropping `done` tells the receiver.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::new(job));
        }
        poll_fn(|context| {
            self.wanted.0.waiting.register(context.waker());
            if let Err(error) = self.check() {
                self.wanted.cancel();
                return Poll::Ready(Err(error));
            }
            result.poll_unpin(context).map(|given| match given {
                Ok(Ok(given)) => Ok(given),
                Ok(Err(message)) => Err(StreamError::Panicked { does: DOES, message }.into()),
                Err(_) => Err(StreamError::Stopped.into()),
            })
        })
        .await
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.wanted.cancel();
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    struct Cancelled(AtomicBool);

    impl Progress for Cancelled {
        fn begin(&self, _: u64, _: &str) {}
        fn advance(&self, _: u64) {}
        fn finish(&self) {}
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn work_in_progress_ends_when_it_is_cancelled() {
        let progress = Cancelled(AtomicBool::new(false));
        let reading = Reading::new(&progress).unwrap();
        let (begun, has_begun) = channel();
        let (ended, has_ended) = channel();
        // Work that never ends by itself.
        let work = move |wanted: &Wanted| {
            begun.send(()).unwrap();
            while wanted.check().is_ok() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
        };
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pollster::block_on(reading.run(work)));
            has_begun.recv().unwrap();
            progress.0.store(true, Ordering::SeqCst);
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error, ModelError::Archive(ArchiveError::Cancelled)), "{error}");
        });
        has_ended.recv().unwrap();
    }

    #[test]
    fn work_in_progress_ends_when_nobody_waits_for_it() {
        let reading = Reading::new(&()).unwrap();
        let (begun, has_begun) = channel();
        let work = move |wanted: &Wanted| {
            begun.send(()).unwrap();
            while wanted.check().is_ok() {
                std::thread::yield_now();
            }
        };
        let mut waiting = Box::pin(reading.run(work));
        assert!(waiting.as_mut().now_or_never().is_none());
        has_begun.recv().unwrap();
        drop(waiting);
        drop(reading);
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let reading = Reading::new(&()).unwrap();
        let error = pollster::block_on(reading.run(|_| panic!("no row {}", 9))).unwrap_err();
        assert!(error.to_string().contains("no row 9"), "{error}");
        assert_eq!(pollster::block_on(reading.run(|_| 4)).unwrap(), 4);
    }
}
