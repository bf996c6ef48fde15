//! The thread on which a model is opened and replies.
//!
//! It is a thread, and not a stream that is polled frame by frame, for two reasons. Between two waits
//! for the device there is work for the processor: checksums, laying out weights, compiling kernels,
//! sampling. It would hold up the frame that it falls into. And a window draws when there is something
//! new; a stream polled by frames gives a token a frame at the most, and needs frames all the time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bantam::archive::Progress;
use bantam::gpu::Gpu;
use bantam::text::Message;
use eframe::wgpu;
use futures::future::{AbortHandle, AbortRegistration, Abortable};

use crate::speaker::{About, Speaker, SpeakerError, Wanted};

/// What the thread is to do. A command ends the one before.
#[derive(Debug)]
pub enum Command {
    /// Load a model, in place of the one that is there.
    Open(Wanted),
    /// Answer a conversation.
    Reply(Vec<Message>),
}

/// What the thread has to say of a command. The last of them is `Opened`, `Ended`, `Stopped` or `Failed`.
#[derive(Debug)]
pub enum Event {
    /// So many original bytes of the weights were loaded.
    Progress { done: u64, total: u64 },
    /// The model is there.
    Opened(Box<About>),
    /// More of a reply, which has now so many tokens, the last of them so long after the first.
    Piece { text: String, tokens: usize, since_first: Duration },
    /// The reply is complete.
    Ended,
    /// The command was stopped before it was done.
    Stopped,
    /// The command failed, and why.
    Failed(String),
}

/// Bytes of device memory that the model's buffers take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    pub used: u64,
    pub peak: u64,
    pub budget: Option<u64>,
}

/// A handle on the thread. When it is dropped, what is being done is stopped and the thread has ended:
/// nothing of ours holds the device any more.
#[derive(Debug)]
pub struct Engine {
    tasks: Option<Sender<Task>>,
    events: Receiver<(u64, Event)>,
    /// What the model is on, for its count of memory.
    gpu: Arc<Mutex<Option<Gpu>>>,
    running: Option<AbortHandle>,
    sent: u64,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Task {
    id: u64,
    command: Command,
    abort: AbortHandle,
    registration: AbortRegistration,
}

impl Engine {
    /// Starts the thread. Models are loaded onto `device`, which stays the caller's. `wake` is called, on
    /// that thread, whenever there is an event.
    pub fn start(
        device: wgpu::Device,
        queue: wgpu::Queue,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (tasks, inbox) = mpsc::channel();
        let (outbox, events) = mpsc::channel();
        let gpu = Arc::default();
        let worker = Worker { device, queue, gpu: Arc::clone(&gpu), speaker: None };
        let wake = Arc::new(wake);
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            worker.work(inbox, |id| Reporter { id, outbox: outbox.clone(), wake: wake.clone() })
        })?;
        Ok(Self { tasks: Some(tasks), events, gpu, running: None, sent: 0, thread: Some(thread) })
    }

    /// Gives the thread a command, and the number that its events will have.
    pub fn send(&mut self, command: Command) -> u64 {
        self.stop();
        let (abort, registration) = AbortHandle::new_pair();
        self.sent += 1;
        self.running = Some(abort.clone());
        if let Some(tasks) = &self.tasks {
            // It fails only when the thread is gone, and it is not before this is dropped.
            let _ = tasks.send(Task { id: self.sent, command, abort, registration });
        }
        self.sent
    }

    /// Stops what is being done. The event that says so comes later.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }

    /// The next event with its command's number, if there is one.
    pub fn event(&self) -> Option<(u64, Event)> {
        self.events.try_recv().ok()
    }

    /// What the model's buffers take on the device; `None` before there is a model.
    pub fn memory(&self) -> Option<Memory> {
        let gpu = lock(&self.gpu);
        let memory = gpu.as_ref()?.memory();
        Some(Memory { used: memory.used(), peak: memory.peak(), budget: memory.budget() })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Worker {
    device: wgpu::Device,
    queue: wgpu::Queue,
    gpu: Arc<Mutex<Option<Gpu>>>,
    speaker: Option<Speaker>,
}

impl Worker {
    fn work<W: Fn() + Send + Sync>(mut self, tasks: Receiver<Task>, reporter: impl Fn(u64) -> Reporter<W>) {
        for Task { id, command, abort, registration } in tasks {
            let report = reporter(id);
            let work = Abortable::new(self.carry_out(command, &report, &abort), registration);
            // Drivers that lose their device, and wgpu with them, may panic: no reason to end.
            let outcome = catch_unwind(AssertUnwindSafe(|| pollster::block_on(work)));
            report.send(match outcome {
                Ok(Ok(Ok(last))) => last,
                Ok(Ok(Err(error))) if error.is_stop() => Event::Stopped,
                Ok(Ok(Err(error))) => Event::Failed(error.in_words()),
                Ok(Err(_aborted)) => Event::Stopped,
                Err(_panic) => {
                    self.speaker = None;
                    Event::Failed("the model stopped working; open it again to continue".into())
                }
            });
        }
    }

    async fn carry_out<W: Fn() + Send + Sync>(
        &mut self,
        command: Command,
        report: &Reporter<W>,
        abort: &AbortHandle,
    ) -> Result<Event, SpeakerError> {
        match command {
            Command::Open(wanted) => {
                // The memory of the one before may be needed.
                self.speaker = None;
                let gpu = Gpu::from_device(self.device.clone(), self.queue.clone(), wanted.budget);
                *lock(&self.gpu) = Some(gpu.clone());
                let progress = Loading { report, abort, done: AtomicU64::new(0), total: AtomicU64::new(0) };
                let (speaker, about) = Speaker::open(&gpu, &wanted, &progress).await?;
                self.speaker = Some(speaker);
                Ok(Event::Opened(Box::new(about)))
            }
            Command::Reply(messages) => {
                let Some(speaker) = &mut self.speaker else {
                    return Ok(Event::Failed("no model is open".into()));
                };
                let piece = |text, tokens, since_first| {
                    report.send(Event::Piece { text, tokens, since_first });
                };
                speaker.reply(&messages, piece).await?;
                Ok(Event::Ended)
            }
        }
    }
}

/// Sends events of one command.
struct Reporter<W> {
    id: u64,
    outbox: Sender<(u64, Event)>,
    wake: Arc<W>,
}

impl<W: Fn()> Reporter<W> {
    fn send(&self, event: Event) {
        // Nobody listens any more when the window was closed.
        let _ = self.outbox.send((self.id, event));
        (self.wake)();
    }
}

/// The progress of loading, as events.
struct Loading<'a, W> {
    report: &'a Reporter<W>,
    abort: &'a AbortHandle,
    done: AtomicU64,
    total: AtomicU64,
}

impl<W: Fn() + Send + Sync> Progress for Loading<'_, W> {
    fn begin(&self, total_bytes: u64, _: &str) {
        self.total.store(total_bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.report.send(Event::Progress { done, total: self.total.load(Ordering::Relaxed) });
    }

    fn finish(&self) {}

    fn cancelled(&self) -> bool {
        self.abort.is_aborted()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use bantam::codec::Precision;
    use bantam::gpu::GpuOptions;

    use super::*;

    /// A device like a window's, without a window.
    fn engine() -> (Engine, wgpu::Device) {
        let gpu = pollster::block_on(Gpu::open(&GpuOptions::default())).unwrap();
        let (device, queue) = (gpu.device().clone(), gpu.queue().clone());
        (Engine::start(device.clone(), queue, || {}).unwrap(), device)
    }

    fn demo() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo")
    }

    fn wanted() -> Wanted {
        Wanted { folder: demo(), adapter: None, precision: Precision::Lossless, budget: None }
    }

    /// The next event of a command, which must not be long in coming.
    fn next(engine: &Engine, command: u64) -> Event {
        let since = Instant::now();
        loop {
            match engine.event() {
                Some((of, event)) if of == command => return event,
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(since.elapsed() < Duration::from_secs(120), "it hangs");
        }
    }

    /// The last event of a command, with the text of those before.
    fn outcome(engine: &Engine, command: u64) -> (String, Event) {
        let mut all = String::new();
        loop {
            match next(engine, command) {
                Event::Piece { text, .. } => all += &text,
                Event::Progress { done, total } => assert!(done <= total),
                last => return (all, last),
            }
        }
    }

    fn open(engine: &mut Engine, wanted: Wanted) -> About {
        let command = engine.send(Command::Open(wanted));
        match outcome(engine, command) {
            (_, Event::Opened(about)) => *about,
            (_, event) => panic!("{event:?}"),
        }
    }

    fn story() -> Vec<Message> {
        vec![Message::user("Tell me a story about a brave little rooster.")]
    }

    fn reply(engine: &mut Engine, messages: Vec<Message>) -> String {
        let command = engine.send(Command::Reply(messages));
        match outcome(engine, command) {
            (text, Event::Ended) => text,
            (_, event) => panic!("{event:?}"),
        }
    }

    #[test]
    fn a_conversation_is_gone_on_with_as_if_it_were_computed_anew() {
        let (mut engine, _) = engine();
        let about = open(&mut engine, wanted());
        assert_eq!((about.name.as_str(), about.layers, about.chats), ("demo", 5, true));
        assert!(about.original_bytes > 2_000_000 && about.device_bytes >= about.original_bytes);
        assert!(engine.memory().unwrap().used > about.device_bytes);
        let first = reply(&mut engine, story());
        assert!(first.split_whitespace().count() > 20, "{first}");
        let mut longer = story();
        longer.extend([Message::assistant(&first), Message::user("Tell me another one.")]);
        let second = reply(&mut engine, longer.clone());
        // Another conversation in between, and all of the longer one has to be computed again.
        assert_eq!(reply(&mut engine, story()), first);
        open(&mut engine, wanted());
        assert_eq!(reply(&mut engine, longer), second);
    }

    #[test]
    fn a_conversation_without_room_is_gone_on_with_from_its_end() {
        let (mut engine, _) = engine();
        let about = open(&mut engine, wanted());
        let mut long = Vec::new();
        for _ in 0..10 {
            long.extend(story());
            long.push(Message::assistant(
                "The rooster crowed, and the sun came up over the hill. ".repeat(4),
            ));
        }
        long.extend(story());
        let words: usize = long.iter().map(|message| message.content.split_whitespace().count()).sum();
        assert!(words > about.context, "{words}");
        assert!(!reply(&mut engine, long.clone()).is_empty());
        // A single message is never left out.
        let command = engine.send(Command::Reply(vec![Message::user("again ".repeat(about.context))]));
        assert!(matches!(outcome(&engine, command).1, Event::Failed(_)));
        assert!(!reply(&mut engine, long).is_empty());
    }

    #[test]
    fn what_is_stopped_ends_and_the_next_command_is_as_usual() {
        let (mut engine, _) = engine();
        open(&mut engine, wanted());
        let whole = reply(&mut engine, story());
        let command = engine.send(Command::Reply(story()));
        assert!(matches!(next(&engine, command), Event::Piece { tokens: 1, .. }));
        engine.stop();
        let (part, last) = outcome(&engine, command);
        assert!(matches!(last, Event::Stopped), "{last:?}");
        assert!(part.len() < whole.len());
        assert_eq!(reply(&mut engine, story()), whole);
        // A command ends the one before.
        let ended = engine.send(Command::Reply(story()));
        let begun = engine.send(Command::Open(wanted()));
        assert!(matches!(outcome(&engine, ended).1, Event::Stopped));
        assert!(matches!(outcome(&engine, begun).1, Event::Opened(_)));
    }

    #[test]
    fn what_cannot_be_opened_is_an_error_and_gives_all_memory_back() {
        let (mut engine, _) = engine();
        let failure = |engine: &mut Engine, wanted| {
            let command = engine.send(Command::Open(wanted));
            match outcome(engine, command) {
                (_, Event::Failed(why)) => why,
                (_, event) => panic!("{event:?}"),
            }
        };
        open(&mut engine, wanted());
        let nowhere = failure(&mut engine, Wanted { folder: "/nowhere".into(), ..wanted() });
        assert_eq!(nowhere, "there is no file or folder /nowhere");
        assert_eq!(engine.memory().unwrap().used, 0);
        let adapter = failure(&mut engine, Wanted { adapter: Some(demo()), ..wanted() });
        assert!(adapter.contains("adapter_config.json"), "{adapter}");
        assert_eq!(engine.memory().unwrap().used, 0);
        let small = failure(&mut engine, Wanted { budget: Some(100_000), ..wanted() });
        assert!(small.contains("needs at least"), "{small}");
        assert_eq!(engine.memory().unwrap(), Memory { used: 0, peak: 0, budget: Some(100_000) });
        let command = engine.send(Command::Reply(story()));
        assert!(matches!(outcome(&engine, command).1, Event::Failed(_)));
    }

    #[test]
    fn a_lost_device_is_an_error() {
        let (mut engine, device) = engine();
        open(&mut engine, wanted());
        device.destroy();
        let command = engine.send(Command::Reply(story()));
        let (_, last) = outcome(&engine, command);
        assert!(matches!(last, Event::Failed(_)), "{last:?}");
        let command = engine.send(Command::Open(wanted()));
        let (_, last) = outcome(&engine, command);
        assert!(matches!(last, Event::Failed(_)), "{last:?}");
    }

    #[test]
    fn an_engine_that_is_dropped_at_work_ends_at_once() {
        for reply_first in [false, true] {
            let (mut engine, device) = engine();
            let command = match reply_first {
                false => engine.send(Command::Open(wanted())),
                true => {
                    open(&mut engine, wanted());
                    engine.send(Command::Reply(story()))
                }
            };
            next(&engine, command);
            let gpu = Arc::downgrade(&engine.gpu);
            drop(engine);
            // The thread is gone, and what it had.
            assert!(gpu.upgrade().is_none());
            drop(device);
        }
    }
}
