//! A thread that reads and checks files while a model is loaded, so that whoever polls that does not wait for them.

use std::sync::mpsc;
use std::thread::JoinHandle;

use futures::channel::oneshot;

use crate::model::error::ModelError;
use crate::stream::StreamError;

type Job = Box<dyn FnOnce() + Send>;

/// Works on one thing after the other. When this is dropped, the thread has ended: within what it was given last,
/// which is one tensor at the most.
pub(crate) struct Reading {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    pub fn new() -> Result<Self, ModelError> {
        let (jobs, theirs) = mpsc::channel::<Job>();
        let work = move || theirs.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new().name("bantam-load".into()).spawn(work).map_err(|error| {
            log::error!("cannot start the thread that reads weights: {error}");
            ModelError::Stream(StreamError::NoReader)
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// What `work` gives, which is done on the thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ModelError> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // Nobody may wait for it any more.
            if !done.is_canceled() {
                let _ = done.send(work());
            }
        };
        // Where nobody takes it, the receiver is told by `done` being dropped.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::new(job));
        }
        result.await.map_err(|_| ModelError::Stream(StreamError::NoReader))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
