//! Drives a device's callbacks from a thread of its own, so that waiting for the device is an
//! ordinary future on any executor and nobody has to block.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest time between two looks at whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Polls its device as long as somebody waits for it. Stops when dropped.
#[derive(Debug)]
pub(super) struct Poller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    stopped: bool,
}

impl Poller {
    pub fn new(device: wgpu::Device) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let spawned =
            std::thread::Builder::new().name("bantam-poll".into()).spawn(move || poll(&device, &theirs));
        let no_thread = |error: &std::io::Error| {
            log::error!("no thread to poll the device from ({error}); the host must poll it");
        };
        Self { shared, thread: spawned.inspect_err(no_thread).ok() }
    }

    /// Polls until the returned guard is dropped.
    pub fn wait(&self) -> Waiting {
        self.shared.state.lock().unwrap_or_else(|e| e.into_inner()).waiting += 1;
        self.shared.changed.notify_all();
        Waiting { shared: self.shared.clone() }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(|e| e.into_inner()).stopped = true;
        self.shared.changed.notify_all();
        // The thread may be the last to hold the device. Drivers crash when one is given back while
        // the process is already ending, so that must not be left for later. It may also be this
        // thread: callbacks run on it, and one of them may drop the last handle.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Somebody waits for the device.
pub(super) struct Waiting {
    shared: Arc<Shared>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(|e| e.into_inner()).waiting -= 1;
    }
}

fn poll(device: &wgpu::Device, shared: &Shared) {
    loop {
        let mut state = shared.state.lock().unwrap_or_else(|e| e.into_inner());
        while state.waiting == 0 && !state.stopped {
            state = shared.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        if state.stopped {
            return;
        }
        drop(state);
        // Returns when the work submitted so far is done and its callbacks have run.
        match device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(PATIENCE) }) {
            Ok(_) | Err(wgpu::PollError::Timeout) => {}
            Err(error) => log::warn!("polling the device: {error}"),
        }
        // The waiter may be a moment from dropping its guard, or wait for work not yet submitted.
        std::thread::yield_now();
    }
}
