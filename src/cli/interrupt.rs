//! Handles Ctrl-C and the other signals that end a program.

use std::future::poll_fn;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use futures::task::AtomicWaker;

/// The user wants to stop. Commands print nothing about it: the user knows.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// How the process reacts to a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// A signal ends the process at once, whatever it waits for: there is nothing to clean up.
    AtOnce,
    /// A signal asks the running operation to stop and clean up. A second one ends the process at once.
    Ask,
    /// Ctrl-C stops a reply, and any other signal ends the process at once.
    StopReply,
}

/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_millis(500);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static MANNER: AtomicU8 = AtomicU8::new(Manner::AtOnce as u8);
/// The exit code of the last signal; 130 before the first.
static CODE: AtomicU8 = AtomicU8::new(130);
/// The waker of a task that waits for something other than a signal.
static WAITING: AtomicWaker = AtomicWaker::new();
/// The actions to take before the process ends.
static LAST: Mutex<Vec<Box<dyn FnOnce() + Send>>> = Mutex::new(Vec::new());

/// Starts to handle signals.
pub fn watch(manner: Manner) {
    set(manner);
    if let Err(error) = listen() {
        log::debug!("cannot listen for Ctrl-C: {error}");
    }
}

/// Sets how the process reacts to signals from now on.
pub fn set(manner: Manner) {
    MANNER.store(manner as u8, Ordering::SeqCst);
}

/// Adds an action to take before a signal ends the process: restoring the terminal's settings, deleting a folder.
pub fn at_end(last: impl FnOnce() + Send + 'static) {
    LAST.lock().unwrap_or_else(|e| e.into_inner()).push(Box::new(last));
}

/// Handles signals, each with the exit code that shells give it.
#[cfg(unix)]
fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let work = move || {
        for signal in signals.forever() {
            take(128 + signal as u8, signal == SIGINT);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(work).map(drop)
}

#[cfg(not(unix))]
fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| take(130, true))
}

/// Handles one signal.
fn take(code: u8, is_interrupt: bool) {
    CODE.store(code, Ordering::SeqCst);
    let manner = MANNER.load(Ordering::SeqCst);
    let asks = match manner {
        _ if manner == Manner::StopReply as u8 => is_interrupt,
        _ if manner == Manner::Ask as u8 => !INTERRUPTED.load(Ordering::SeqCst),
        _ => false,
    };
    if !asks {
        end(code);
    }
    INTERRUPTED.store(true, Ordering::SeqCst);
    WAITING.wake();
}

/// Whether the user wants to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Forgets the signal: the reply is stopped, and the next operation must run.
pub fn forget() {
    INTERRUPTED.store(false, Ordering::SeqCst);
}

/// The exit code of a command that was interrupted.
pub fn code() -> u8 {
    CODE.load(Ordering::SeqCst)
}

/// Ends the process at once. Device resources are not released: the device may have seconds of work left.
pub fn end(code: u8) -> ! {
    let last = std::mem::take(&mut *LAST.lock().unwrap_or_else(|e| e.into_inner()));
    last.into_iter().for_each(|last| last());
    end_lines(code >= 128);
    #[cfg(unix)]
    signal_hook::low_level::exit(code.into());
    #[cfg(not(unix))]
    std::process::exit(code.into());
}

/// Writes what is still buffered, and ends a line that was begun if the process `is_stopped`. A thread that writes to
/// standard output holds its lock for as long as nobody reads, so this waits for a moment only.
fn end_lines(is_stopped: bool) {
    let (sender, receiver) = channel();
    let write = move || {
        let _ = stdout().flush();
        if is_stopped && super::print::is_mid_line() && stderr().is_terminal() {
            let _ = writeln!(stderr());
        }
        let _ = sender.send(());
    };
    if std::thread::Builder::new().name("last lines".into()).spawn(write).is_ok() {
        let _ = receiver.recv_timeout(LAST_LINES);
    }
}

/// The result of `work`, or an error as soon as the user wants to stop.
pub async fn unless_interrupted<F: Future>(work: F) -> Result<F::Output, Interrupted> {
    let mut work = pin!(work);
    poll_fn(|context| {
        // Register first, so that a signal in between is not missed.
        WAITING.register(context.waker());
        match interrupted() {
            true => Poll::Ready(Err(Interrupted)),
            false => work.as_mut().poll(context).map(Ok),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_wakes_who_waits_for_something_that_does_not_come() {
        set(Manner::Ask);
        let waiting =
            std::thread::spawn(|| pollster::block_on(unless_interrupted(futures::future::pending::<()>())));
        while !waiting.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            if !interrupted() {
                take(143, false);
            }
        }
        assert!(waiting.join().unwrap().is_err());
        assert_eq!(code(), 143);
        forget();
        assert_eq!(pollster::block_on(unless_interrupted(async { 7 })).unwrap(), 7);
    }
}
