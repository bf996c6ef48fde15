//! The slots that streamed stages take turns in.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::channel::oneshot;
use futures::lock::{Mutex, MutexGuard};

use super::error::StreamError;
use super::reader::Reader;
use super::stage::{Filled, StreamedStage};
use super::stats::{Counters, StreamStats};
use crate::gpu::{Gpu, Slot, SlotKind, SlotWords};

/// The slots for a model's streamed stages. The model's sessions share the ring; one pass through the stages
/// uses it at a time.
///
/// Streamed stage `k` always goes to slot `k` modulo the number of slots, so that a session's dispatches know
/// their addresses when they are recorded.
#[derive(Debug)]
pub struct Ring {
    // The first field, so that the thread has released slots before they are dropped.
    reader: Reader,
    gpu: Gpu,
    slots: Vec<Slot>,
    stages: Vec<Arc<StreamedStage>>,
    state: Mutex<State>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    /// For each slot, the stage that is in it or being loaded into it.
    holds: Vec<Option<Held>>,
    /// The time at which the device finished the last submission; set when it has.
    last_done: Arc<OnceLock<Instant>>,
}

/// A stage in a slot.
#[derive(Debug)]
struct Held {
    stage: usize,
    /// Receives the end of loading; `None` after that.
    filled: Option<oneshot::Receiver<Filled>>,
}

impl Ring {
    /// A ring of `slots` slots of `slot_bytes` each, with contents of `kind`. The stages are
    /// [set](Self::set_stages) later, because the slots' addresses are needed first.
    pub fn new(gpu: &Gpu, kind: SlotKind, slots: usize, slot_bytes: u64) -> Result<Self, StreamError> {
        let counters = Arc::<Counters>::default();
        let slots = Slot::several(gpu, kind, slots.max(1), slot_bytes)?;
        let state = State { holds: slots.iter().map(|_| None).collect(), last_done: Arc::default() };
        Ok(Self {
            reader: Reader::new(counters.clone())?,
            gpu: gpu.clone(),
            slots,
            stages: Vec::new(),
            state: Mutex::new(state),
            counters,
        })
    }

    /// The memory that shaders read for streamed stage `stage`, an index among the streamed stages.
    pub fn slot_of(&self, stage: usize) -> &SlotWords {
        self.slots[self.slot_index(stage)].device()
    }

    /// Sets the stages, in the order of visits.
    pub fn set_stages(&mut self, stages: Vec<StreamedStage>) {
        self.stages = stages.into_iter().map(Arc::new).collect();
    }

    /// What streaming has cost so far.
    pub fn stats(&self) -> StreamStats {
        self.counters.now()
    }

    /// Waits until no other pass uses the ring, and begins a pass over the first `visits` stages.
    pub async fn turn(&self, visits: usize) -> Turn<'_> {
        Turn { ring: self, visits, state: self.state.lock().await }
    }

    fn slot_index(&self, stage: usize) -> usize {
        stage % self.slots.len()
    }
}

/// A pass through the stages. If it is dropped early, the next one starts over.
pub struct Turn<'a> {
    ring: &'a Ring,
    visits: usize,
    state: MutexGuard<'a, State>,
}

impl Turn<'_> {
    /// Waits until streamed stage `stage` is in its slot.
    pub async fn ready(&mut self, stage: usize) -> Result<(), StreamError> {
        let slot = self.ring.slot_index(stage);
        loop {
            match &mut self.state.holds[slot] {
                Some(Held { stage: held, filled: None }) if *held == stage => return Ok(()),
                Some(Held { stage: held, filled: Some(filled) }) => {
                    let is_wanted = *held == stage;
                    let start = Instant::now();
                    let result = filled.await.unwrap_or(Err(StreamError::Stopped));
                    self.note_stall(start);
                    match result {
                        Ok(()) => self.state.holds[slot].iter_mut().for_each(|held| held.filled = None),
                        Err(error) => {
                            self.state.holds[slot] = None;
                            // A failure of a stage that only an earlier pass needed is not reported.
                            if is_wanted {
                                return Err(error);
                            }
                        }
                    }
                }
                _ => self.bring(stage),
            }
        }
    }

    /// Submits what must come before the dispatches that read `stage`. It must be [ready](Self::ready).
    pub fn begin(&mut self, stage: usize) -> Result<(), StreamError> {
        let slot = &self.ring.slots[self.ring.slot_index(stage)];
        if slot.is_copied() {
            // In a separate submission, so that the slot can be written to again before the dispatches end.
            let len = self.ring.stages[stage].end();
            self.ring.gpu.submit("slot", |encoder| slot.record(encoder, len))?;
            self.submitted();
            self.bring_next(stage);
        }
        Ok(())
    }

    /// Records that all work of this pass that reads `stage` has been submitted.
    pub fn used(&mut self, stage: usize) {
        self.submitted();
        if !self.ring.slots[self.ring.slot_index(stage)].is_copied() {
            self.bring_next(stage);
        }
    }

    /// Passes the slot of `stage` to the next stage for that slot, as soon as the device has finished with
    /// it. After the last stages come the first ones of the next pass.
    fn bring_next(&mut self, stage: usize) {
        let next = match stage + self.ring.slots.len() {
            next if next < self.visits => next,
            _ => self.ring.slot_index(stage),
        };
        if next != stage {
            self.bring(next);
        }
    }

    /// Records that work of this pass has been submitted: the device is busy until that has finished.
    pub fn submitted(&mut self) {
        self.state.last_done = self.ring.gpu.when_done();
    }

    /// Starts loading `stage` into its slot.
    fn bring(&mut self, stage: usize) {
        let slot = self.ring.slot_index(stage);
        let writing = self.ring.slots[slot].start_writing(&self.ring.gpu);
        let filled = self.ring.reader.fill(writing, self.ring.stages[stage].clone());
        self.state.holds[slot] = Some(Held { stage, filled: Some(filled) });
    }

    /// Adds the time since `start` during which the device was idle.
    fn note_stall(&self, start: Instant) {
        if let Some(&done) = self.state.last_done.get() {
            self.ring.counters.stalled(start.max(done).elapsed());
        }
    }
}
