//! Polls a device on a separate thread, which runs its callbacks. So waiting for the device is an ordinary
//! future on any executor, and nobody has to block.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

/// Minimum and maximum pause between two polls. A pause is a small fraction of the time waited so far, so
/// that it delays short work little and costs little CPU time during long work.
const PAUSE: [Duration; 2] = [Duration::from_micros(10), Duration::from_micros(500)];
const PAUSE_SHARE: u32 = 32;

/// The result of waiting.
pub(in crate::gpu) type Outcome = Result<(), String>;

/// Polls its device while there are waiting callers. Stops when dropped.
#[derive(Debug)]
pub(in crate::gpu) struct Poller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
    tickets: u64,
    /// When a caller last began to wait or was notified. If work follows work, there is always a waiting
    /// caller, and for how long says nothing about when the next result arrives.
    since: Instant,
    stopped: bool,
    /// Why polling has ended.
    failed: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        let since = Instant::now();
        Self { waiting: HashMap::new(), tickets: 0, since, stopped: false, failed: None }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Reports failure to all current and future waiting callers.
    fn fail(&self, why: &str) {
        let waiting = {
            let mut state = self.lock();
            state.failed = Some(why.into());
            std::mem::take(&mut state.waiting)
        };
        for done in waiting.into_values() {
            let _ = done.send(Err(why.into()));
        }
    }

    /// Removes the waiting caller with this ticket. Notifying or dropping it calls a waker, which may call
    /// the poller again, so do that only while no lock is held.
    fn take(&self, id: u64) -> Option<oneshot::Sender<Outcome>> {
        let mut state = self.lock();
        state.since = Instant::now();
        state.waiting.remove(&id)
    }
}

impl Poller {
    pub fn new(device: wgpu::Device) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let spawned =
            std::thread::Builder::new().name("bantam-poll".into()).spawn(move || poll(&device, &theirs));
        let no_thread = |error: &std::io::Error| {
            shared.fail(&format!("cannot start the thread that polls the device: {error}"))
        };
        let thread = spawned.inspect_err(no_thread).ok();
        Self { shared, thread }
    }

    /// Whether this is the polling thread, on which callbacks run.
    pub fn is_here(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == std::thread::current().id())
    }

    /// Polls until the ticket is dropped, or resolved by a callback of the device.
    pub fn wait(&self) -> (Ticket, oneshot::Receiver<Outcome>) {
        let (done, outcome) = oneshot::channel();
        let mut state = self.shared.lock();
        state.tickets += 1;
        state.since = Instant::now();
        let id = state.tickets;
        match &state.failed {
            Some(why) => drop(done.send(Err(why.clone()))),
            None => drop(state.waiting.insert(id, done)),
        }
        drop(state);
        self.shared.changed.notify_all();
        (Ticket { shared: self.shared.clone(), id }, outcome)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        // The thread may hold the last handle of the device. Drivers crash if a device is released while the
        // process is ending, so wait for the thread now. This may be that thread itself: callbacks run on it,
        // and one of them may drop the last handle.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Represents a caller that waits for the device.
pub(in crate::gpu) struct Ticket {
    shared: Arc<Shared>,
    id: u64,
}

impl Ticket {
    /// Ends the waiting with this outcome.
    pub fn resolve(self, outcome: Outcome) {
        let waiting = self.shared.take(self.id);
        if let Some(done) = waiting {
            let _ = done.send(outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let waiting = self.shared.take(self.id);
        drop(waiting);
    }
}

/// The time until the next poll, if the last change was `waited` ago.
fn pause(waited: Duration) -> Duration {
    (waited / PAUSE_SHARE).clamp(PAUSE[0], PAUSE[1])
}

fn poll(device: &wgpu::Device, shared: &Shared) {
    loop {
        let mut state = shared.lock();
        while state.waiting.is_empty() && !state.stopped {
            state = shared.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        if state.stopped {
            return;
        }
        drop(state);
        // This poll does not wait. wgpu 30 panics in a waiting poll if its time is up just as another thread
        // submits. A poll also panics if the driver loses the device, and callbacks of the host run on this
        // thread too.
        match catch_unwind(AssertUnwindSafe(|| device.poll(wgpu::PollType::Poll))) {
            Ok(Ok(_) | Err(wgpu::PollError::Timeout)) => {}
            Ok(Err(error)) => log::warn!("cannot poll the device: {error}"),
            Err(_) => return shared.fail("the thread that polls the device panicked"),
        }
        let state = shared.lock();
        let pause = pause(state.since.elapsed());
        // A new waiting caller ends the pause.
        drop(shared.changed.wait_timeout(state, pause));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    #[test]
    fn a_failure_ends_all_waiting_and_later_waiting_too() {
        let poller = Poller { shared: Arc::default(), thread: None };
        let (ticket, before) = poller.wait();
        poller.shared.fail("gone");
        ticket.resolve(Ok(()));
        let (_ticket, after) = poller.wait();
        assert_eq!(pollster::block_on(before), Ok(Err("gone".into())));
        assert_eq!(pollster::block_on(after), Ok(Err("gone".into())));
    }

    /// A waker that calls the poller again.
    struct ComesBack(Arc<Poller>, std::sync::mpsc::Sender<()>);

    impl std::task::Wake for ComesBack {
        fn wake(self: Arc<Self>) {
            drop(self.0.wait());
            let _ = self.1.send(());
        }
    }

    #[test]
    fn nothing_is_locked_while_somebody_is_woken() {
        let endings: [fn(&Poller, Ticket); 3] = [
            |_, ticket| ticket.resolve(Ok(())),
            |_, ticket| drop(ticket),
            |poller, _ticket| poller.shared.fail("gone"),
        ];
        for end in endings {
            let poller = Arc::new(Poller { shared: Arc::default(), thread: None });
            let (woken, is_woken) = std::sync::mpsc::channel();
            let (ticket, mut outcome) = poller.wait();
            let waker = Arc::new(ComesBack(poller.clone(), woken)).into();
            let mut context = std::task::Context::from_waker(&waker);
            assert!(Pin::new(&mut outcome).poll(&mut context).is_pending());
            // On a separate thread, because a deadlock would block this one forever.
            std::thread::spawn(move || end(&poller, ticket));
            is_woken.recv_timeout(Duration::from_secs(60)).expect("the poller is locked while it wakes");
        }
    }

    #[test]
    fn pauses_are_short_again_after_every_answer() {
        let poller = Poller { shared: Arc::default(), thread: None };
        let long_ago = Instant::now();
        let set = || poller.shared.lock().since = long_ago;
        let (first, _outcome) = poller.wait();
        set();
        let (second, _other) = poller.wait();
        assert!(poller.shared.lock().since > long_ago, "somebody else waits");
        set();
        first.resolve(Ok(()));
        assert!(poller.shared.lock().since > long_ago, "one was told");
        set();
        drop(second);
        assert!(poller.shared.lock().since > long_ago, "one does not wait any more");
        assert_eq!(pause(Duration::ZERO), PAUSE[0]);
        assert_eq!(pause(Duration::from_secs(1)), PAUSE[1]);
    }

    #[test]
    fn a_ticket_that_is_dropped_cancels_the_waiting() {
        let poller = Poller { shared: Arc::default(), thread: None };
        let (ticket, outcome) = poller.wait();
        drop(ticket);
        assert!(pollster::block_on(outcome).is_err());
        assert!(poller.shared.lock().waiting.is_empty());
    }
}
