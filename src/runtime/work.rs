//! Runs long work on threads of its own, and returns futures for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::error::RuntimeError;
use crate::archive::ArchiveError;
use crate::stream::panics::caught;

type Job = Box<dyn FnOnce() + Send>;

/// The worker threads of a runtime: as many as ever had work at the same time. Threads are reused, because
/// shader compilers use much memory for a while, and allocators keep that memory for each thread.
///
/// Workers hold the device while they work. Drivers crash if a device is destroyed while the process is
/// already exiting, so dropping this waits for the workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job.
    idle: usize,
    stopped: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("jobs", &self.jobs.len()).field("idle", &self.idle).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits for the next job.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        state.idle += 1;
        while state.jobs.is_empty() && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        state.idle -= 1;
        state.jobs.pop_front()
    }
}

impl Workers {
    /// Starts `work`, and passes it a handle that says when nobody waits for the result any more.
    pub fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Stop) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Working<T> {
        let (done, result) = oneshot::channel();
        let stop = Stop::default();
        let theirs = stop.clone();
        let given = self.give(Box::new(move || {
            // A panic drops everything that the work was using, so nobody sees it half done.
            let given = caught(|| work(&theirs));
            let _ = done.send(given.unwrap_or_else(|message| Err(RuntimeError::Panicked { message })));
        }));
        let workers = self.clone();
        let result = async move {
            // Keeps the workers alive until the work is done.
            let _workers = workers;
            given.map_err(|error| RuntimeError::NoThread { reason: error.to_string() })?;
            result.await.unwrap_or(Err(RuntimeError::Cancelled))
        };
        Working { stop, result: Box::pin(result) }
    }

    /// Passes a job to an idle thread, or to a new one.
    fn give(&self, job: Job) -> std::io::Result<()> {
        let mut state = self.shared.lock();
        if state.idle <= state.jobs.len() {
            let shared = self.shared.clone();
            let work = move || {
                while let Some(job) = shared.next() {
                    job();
                }
            };
            let thread = std::thread::Builder::new().name("bantam-work".into()).spawn(work)?;
            self.threads.lock().unwrap_or_else(|e| e.into_inner()).push(thread);
        }
        state.jobs.push_back(job);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        let threads = self.threads.get_mut().unwrap_or_else(|e| e.into_inner());
        for thread in threads.drain(..).filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Whether work should end early.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns an error if the work should end.
    pub fn check(&self) -> Result<(), ArchiveError> {
        if self.is_asked() { Err(ArchiveError::Cancelled) } else { Ok(()) }
    }
}

/// Work that a worker thread has already started: a future that any executor can poll and that never blocks.
/// Dropping the future stops the work as soon as possible and frees what it has created.
#[must_use = "dropping the future stops the work"]
pub struct Working<T> {
    stop: Stop,
    result: BoxFuture<'static, Result<T, RuntimeError>>,
}

impl<T: Send + 'static> Working<T> {
    /// The same work, with `last` applied to its result.
    pub(super) fn then<U>(self, last: impl FnOnce(T) -> U + Send + 'static) -> Working<U> {
        let stop = self.stop.clone();
        Working { stop, result: Box::pin(async move { Ok(last(self.await?)) }) }
    }
}

impl<T> Future for Working<T> {
    type Output = Result<T, RuntimeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.result.as_mut().poll(context)
    }
}

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
    }
}

impl<T> std::fmt::Debug for Working<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Working").field("stop", &self.stop).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_keeps_its_message_and_the_thread_works_on() {
        let workers = Arc::new(Workers::default());
        let begun: Working<()> = workers.begin(|_| panic!("layer {} is not there", 7));
        let error = pollster::block_on(begun).unwrap_err();
        let RuntimeError::Panicked { message } = &error else { panic!("{error}") };
        assert_eq!(message, "layer 7 is not there");
        assert!(error.to_string().contains("layer 7 is not there"), "{error}");
        // The same thread if it was idle by then, otherwise another one.
        assert_eq!(pollster::block_on(workers.begin(|_| Ok(5))).unwrap(), 5);
    }
}
