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

/// Slots that a model's streamed stages are brought to in turn. The sessions of a model share it: one
/// pass through the stages has it at a time.
///
/// Streamed stage `k` always goes to slot `k` modulo their number, so that a session's dispatches know
/// where to read when they are recorded.
#[derive(Debug)]
pub struct Ring {
    // First, so that the thread has let go of slots before they are dropped.
    reader: Reader,
    gpu: Gpu,
    slots: Vec<Slot>,
    stages: Vec<Arc<StreamedStage>>,
    state: Mutex<State>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    /// By slot, what is in it or on its way there.
    holds: Vec<Option<Held>>,
    /// When the device was done with what was submitted last, once it is.
    last_done: Arc<OnceLock<Instant>>,
}

/// A stage that is in a slot.
#[derive(Debug)]
struct Held {
    stage: usize,
    /// Tells when it is all there; `None` once it is.
    filled: Option<oneshot::Receiver<Filled>>,
}

impl Ring {
    /// A ring of `slots` slots of `slot_bytes` each, for what `kind` says. Stages are [given](Self::set_stages) later: where
    /// they go must be known first.
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

    /// What shaders read of streamed stage `stage`, counted among the streamed ones.
    pub fn slot_of(&self, stage: usize) -> &SlotWords {
        self.slots[self.slot_index(stage)].device()
    }

    /// Sets the stages, in the order in which they are visited.
    pub fn set_stages(&mut self, stages: Vec<StreamedStage>) {
        self.stages = stages.into_iter().map(Arc::new).collect();
    }

    /// What streaming has cost so far.
    pub fn stats(&self) -> StreamStats {
        self.counters.now()
    }

    /// Waits until no other pass uses the ring, and begins one that visits the first `visits` stages.
    pub async fn turn(&self, visits: usize) -> Turn<'_> {
        Turn { ring: self, visits, state: self.state.lock().await }
    }

    fn slot_index(&self, stage: usize) -> usize {
        stage % self.slots.len()
    }
}

/// A pass through the stages. Where it is dropped early, the next one begins anew.
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
                            // Of a stage that an earlier pass wanted, nobody needs to hear.
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
            // By itself, so that the slot can be written to again before the dispatches are done.
            let len = self.ring.stages[stage].end();
            self.ring.gpu.submit("slot", |encoder| slot.record(encoder, len))?;
            self.submitted();
            self.bring_next(stage);
        }
        Ok(())
    }

    /// Takes note that all work that reads `stage` in this pass has been submitted.
    pub fn used(&mut self, stage: usize) {
        self.submitted();
        if !self.ring.slots[self.ring.slot_index(stage)].is_copied() {
            self.bring_next(stage);
        }
    }

    /// Gives the slot of `stage` to the next one that goes there, as soon as the device is done. Behind the last ones
    /// come the first ones of the next pass.
    fn bring_next(&mut self, stage: usize) {
        let next = match stage + self.ring.slots.len() {
            next if next < self.visits => next,
            _ => self.ring.slot_index(stage),
        };
        if next != stage {
            self.bring(next);
        }
    }

    /// Takes note that work of this pass has been submitted: the device has something to do until it is done.
    pub fn submitted(&mut self) {
        self.state.last_done = self.ring.gpu.when_done();
    }

    /// Has `stage` brought to its slot.
    fn bring(&mut self, stage: usize) {
        let slot = self.ring.slot_index(stage);
        let writing = self.ring.slots[slot].start_writing(&self.ring.gpu);
        let filled = self.ring.reader.fill(writing, self.ring.stages[stage].clone());
        self.state.holds[slot] = Some(Held { stage, filled: Some(filled) });
    }

    /// Counts the time since `start` in which the device had nothing to do.
    fn note_stall(&self, start: Instant) {
        if let Some(&done) = self.state.last_done.get() {
            self.ring.counters.stalled(start.max(done).elapsed());
        }
    }
}
