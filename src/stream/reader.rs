//! A thread that fills slots, because reading a file may take long, and nothing else should wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use futures::channel::oneshot;
use futures::future::{Either, FutureExt, Shared, select};

use super::error::StreamError;
use super::panics::caught;
use super::stage::{Filled, Passage, StreamedStage};
use super::stats::Counters;
use crate::gpu::Writing;

/// What the thread does, for messages.
const DOES: &str = "reads streamed weights";

/// A slot, and the stage to fill it with.
struct Job {
    writing: Writing,
    stage: Arc<StreamedStage>,
    done: oneshot::Sender<Filled>,
}

/// Fills slots one after the other. When dropped, it stops after the current piece at the latest.
#[derive(Debug)]
pub(super) struct Reader {
    jobs: Option<mpsc::Sender<Job>>,
    stop: Option<oneshot::Sender<()>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub fn new(counters: Arc<Counters>) -> Result<Self, StreamError> {
        let (jobs, theirs) = mpsc::channel();
        let (stop, stopping) = oneshot::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let worker = Worker { stopped: stopped.clone(), stopping: stopping.shared(), counters };
        let thread = std::thread::Builder::new()
            .name("bantam-stream".into())
            .spawn(move || worker.run(&theirs))
            .map_err(|error| StreamError::no_thread(DOES, error))?;
        Ok(Self { jobs: Some(jobs), stop: Some(stop), stopped, thread: Some(thread) })
    }

    /// Fills the slot as soon as it can be written to.
    pub fn fill(&self, writing: Writing, stage: Arc<StreamedStage>) -> oneshot::Receiver<Filled> {
        let (done, filled) = oneshot::channel();
        // If the job is not accepted, the receiver is cancelled because `done` is dropped.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Job { writing, stage, done });
        }
        filled
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop((self.stop.take(), self.jobs.take()));
        // The thread holds slots, which must be released when this returns.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    stopped: Arc<AtomicBool>,
    stopping: Shared<oneshot::Receiver<()>>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(self, jobs: &mpsc::Receiver<Job>) {
        let mut passage = Passage::default();
        while let Ok(Job { writing, stage, done }) = jobs.recv() {
            let filled = caught(|| self.fill(writing, &stage, &mut passage))
                .unwrap_or_else(|message| Err(StreamError::Panicked { does: DOES, message }));
            // Release the stage before reporting, so that its slot can be dropped.
            drop(stage);
            let _ = done.send(filled);
        }
    }

    fn fill(&self, mut writing: Writing, stage: &StreamedStage, passage: &mut Passage) -> Filled {
        let granted = pollster::block_on(async {
            match select(Box::pin(writing.granted()), self.stopping.clone()).await {
                Either::Left((granted, _)) => Some(granted),
                Either::Right(_) => None,
            }
        });
        granted.ok_or(StreamError::Stopped)??;
        let start = Instant::now();
        stage.fill(&mut writing, passage, &self.stopped)?;
        writing.finish()?;
        self.counters.moved(stage.bytes(), start.elapsed());
        Ok(())
    }
}
