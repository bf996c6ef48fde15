//! The slots that streamed layers take turns in.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::channel::oneshot;
use futures::lock::{Mutex, MutexGuard};

use super::error::StreamError;
use super::reader::{Filled, Reader};
use super::stats::{Counters, StreamStats};
use crate::gpu::weights::Piece;
use crate::gpu::{Buffer, Gpu, GpuError, Slot};
use crate::tensor::FileReader;

/// A run of bytes of a file, and where it goes in a slot.
#[derive(Debug)]
pub(super) struct Read {
    pub file: FileReader,
    /// Byte of the file.
    pub offset: u64,
    /// Bytes, a multiple of four.
    pub len: usize,
    /// Byte of the slot, a multiple of four.
    pub at: u64,
}

/// Where a streamed layer's bytes are read from.
#[derive(Debug, Default)]
pub struct StreamedLayer {
    pub(super) reads: Vec<Read>,
    pub(super) bytes: u64,
    /// Bytes of the slot that it takes.
    pub(super) end: u64,
}

impl StreamedLayer {
    /// Adds pieces of the payload that begins at byte `payload_at` of `file`. What lies together in file
    /// and slot is read together.
    pub fn add(&mut self, file: &FileReader, payload_at: u64, pieces: &[Piece]) {
        let mut follows = false;
        for Piece { payload, at } in pieces.iter().filter(|piece| !piece.payload.is_empty()) {
            let offset = payload_at + payload.start as u64;
            self.bytes += payload.len() as u64;
            self.end = self.end.max(at + payload.len() as u64);
            match self.reads.last_mut() {
                Some(last)
                    if follows
                        && last.offset + last.len as u64 == offset
                        && last.at + last.len as u64 == *at =>
                {
                    last.len += payload.len();
                }
                _ => self.reads.push(Read { file: file.clone(), offset, len: payload.len(), at: *at }),
            }
            follows = true;
        }
    }
}

/// Slots that a model's streamed layers are brought to in turn. The sessions of a model share it: one
/// pass through the layers has it at a time.
///
/// Streamed layer `k` always goes to slot `k` modulo their number, so that a session's dispatches know
/// where to read when they are recorded.
#[derive(Debug)]
pub struct Ring {
    // First, so that the thread has let go of slots before they are dropped.
    reader: Reader,
    gpu: Gpu,
    slots: Vec<Slot>,
    layers: Vec<Arc<StreamedLayer>>,
    state: Mutex<State>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    /// By slot, what is in it or on its way there.
    holds: Vec<Option<Held>>,
    /// When the device was done with the layer that was submitted last, once it is.
    last_done: Arc<OnceLock<Instant>>,
}

/// A layer that is in a slot.
#[derive(Debug)]
struct Held {
    layer: usize,
    /// Tells when it is all there; `None` once it is.
    filled: Option<oneshot::Receiver<Filled>>,
}

impl Ring {
    /// A ring of `slots` slots of `slot_bytes` each. Layers are [given](Self::set_layers) later: where
    /// they go must be known first.
    pub fn new(gpu: &Gpu, slots: usize, slot_bytes: u64) -> Result<Self, StreamError> {
        let counters = Arc::<Counters>::default();
        let slots: Vec<Slot> =
            (0..slots.max(1)).map(|_| Slot::new(gpu, slot_bytes)).collect::<Result<_, GpuError>>()?;
        let state = State { holds: slots.iter().map(|_| None).collect(), last_done: Arc::default() };
        Ok(Self {
            reader: Reader::new(counters.clone())?,
            gpu: gpu.clone(),
            slots,
            layers: Vec::new(),
            state: Mutex::new(state),
            counters,
        })
    }

    /// What shaders read of streamed layer `layer`, counted among the streamed ones.
    pub fn slot_of(&self, layer: usize) -> &Arc<Buffer> {
        self.slots[self.slot_index(layer)].device()
    }

    /// Sets the layers, in the order in which they are visited.
    pub fn set_layers(&mut self, layers: Vec<StreamedLayer>) {
        self.layers = layers.into_iter().map(Arc::new).collect();
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(Slot::bytes).sum()
    }

    /// What streaming has cost so far.
    pub fn stats(&self) -> StreamStats {
        self.counters.now()
    }

    /// Waits until no other pass uses the ring, and begins one.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { ring: self, state: self.state.lock().await }
    }

    fn slot_index(&self, layer: usize) -> usize {
        layer % self.slots.len()
    }

    /// The layer that is next in the slot of `layer`, after it.
    fn next_in_slot(&self, layer: usize) -> usize {
        match layer + self.slots.len() {
            next if next < self.layers.len() => next,
            _ => self.slot_index(layer),
        }
    }
}

/// A pass through the layers. Where it is dropped early, the next one begins anew.
pub struct Turn<'a> {
    ring: &'a Ring,
    state: MutexGuard<'a, State>,
}

impl Turn<'_> {
    /// Waits until streamed layer `layer` is in its slot.
    pub async fn ready(&mut self, layer: usize) -> Result<(), StreamError> {
        let slot = self.ring.slot_index(layer);
        loop {
            match &mut self.state.holds[slot] {
                Some(Held { layer: held, filled: None }) if *held == layer => return Ok(()),
                Some(Held { layer: held, filled: Some(filled) }) => {
                    let is_wanted = *held == layer;
                    let start = Instant::now();
                    let result = filled.await.unwrap_or(Err(StreamError::NoReader));
                    self.note_stall(start);
                    match result {
                        Ok(()) => self.state.holds[slot].iter_mut().for_each(|held| held.filled = None),
                        Err(error) => {
                            self.state.holds[slot] = None;
                            // Of a layer that an earlier pass wanted, nobody needs to hear.
                            if is_wanted {
                                return Err(error);
                            }
                        }
                    }
                }
                _ => self.bring(layer),
            }
        }
    }

    /// Records what must come before the dispatches that read `layer`, in the same submission. It must be
    /// [ready](Self::ready).
    pub fn record(&self, layer: usize, encoder: &mut wgpu::CommandEncoder) {
        let slot = &self.ring.slots[self.ring.slot_index(layer)];
        slot.record(encoder, self.ring.layers[layer].end);
    }

    /// Takes note that all work that reads `layer` in this pass has been submitted: its slot is given to
    /// the next layer, as soon as the device is done.
    pub fn used(&mut self, layer: usize) {
        let next = self.ring.next_in_slot(layer);
        if next != layer {
            self.bring(next);
        }
    }

    /// Has `layer` brought to its slot.
    fn bring(&mut self, layer: usize) {
        let slot = self.ring.slot_index(layer);
        let writing = self.ring.slots[slot].start_writing(&self.ring.gpu);
        self.state.last_done = writing.when_granted();
        let filled = self.ring.reader.fill(writing, self.ring.layers[layer].clone());
        self.state.holds[slot] = Some(Held { layer, filled: Some(filled) });
    }

    /// Counts the time since `start` in which the device was done with all layers.
    fn note_stall(&self, start: Instant) {
        if let Some(&done) = self.state.last_done.get() {
            self.ring.counters.stalled(start.max(done).elapsed());
        }
    }
}
