//! Tests that would hang where something is wrong fail instead.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Much longer than any device needs for what a test does, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// What `work` gives. Fails where it seems to hang.
pub fn patiently<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    let worker = std::thread::spawn(move || done.send(work()));
    match result.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(worker.join().unwrap_err()),
    }
}

/// Waits until something holds that another thread brings about.
#[track_caller]
pub fn wait_until(holds: impl Fn() -> bool, what: &str) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: it never comes");
        std::thread::sleep(Duration::from_millis(1));
    }
}
