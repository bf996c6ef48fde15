//! Long work on a thread of its own, awaited as a future.

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

/// A runtime's worker threads: as many as have had work at the same time. They are reused, because shader
/// compilers take much memory for a while, and allocators keep that memory for each thread.
///
/// They hold the device while they work, and drivers crash if a device is destroyed while the process is
/// already exiting. So dropping this waits for them.
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

    /// The next job, once there is one.
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
    /// Begins `work`, which is given what tells it that nobody waits any more.
    pub fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Stop) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Working<T> {
        let (done, result) = oneshot::channel();
        let stop = Stop::default();
        let theirs = stop.clone();
        let given = self.give(Box::new(move || {
            // What it was working on goes with it, so nobody sees that half done.
            let given = caught(|| work(&theirs));
            let _ = done.send(given.unwrap_or_else(|message| Err(RuntimeError::Panicked { message })));
        }));
        let workers = self.clone();
        let result = async move {
            // Until then there is work, and so there are workers.
            let _workers = workers;
            given.map_err(|error| RuntimeError::NoThread { reason: error.to_string() })?;
            result.await.unwrap_or(Err(RuntimeError::Cancelled))
        };
        Working { stop, result: Box::pin(result) }
    }

    /// Gives a job to a thread that has none, or to another one.
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

/// Whether work is to end early.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns an error once work is to end.
    pub fn check(&self) -> Result<(), ArchiveError> {
        if self.is_asked() { Err(ArchiveError::Cancelled) } else { Ok(()) }
    }
}

/// Work that has started and runs on a worker thread: a future that any executor can poll, and that never
/// blocks. Dropping it stops the work as soon as possible and frees what the work has made.
#[must_use = "dropping the future stops the work"]
pub struct Working<T> {
    stop: Stop,
    result: BoxFuture<'static, Result<T, RuntimeError>>,
}

impl<T: Send + 'static> Working<T> {
    /// The same work, with something done to what it gives.
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
        // The same thread, if it was idle by then; if not, another.
        assert_eq!(pollster::block_on(workers.begin(|_| Ok(5))).unwrap(), 5);
    }
}
