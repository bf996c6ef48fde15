//! What is done a thousand times costs no more memory than what is done once: neither on the device, where not
//! a byte may be left, nor in the host's memory.
//!
//! `scripts/endurance` does all cycles. Otherwise there are a quarter of them, which is said.
//!
//! Each test runs in a process of its own: what the host's memory is measured by is that of the whole process.
//! There, allocations of all threads come from one pool. The C library of Linux usually has several,
//! and memory that is freed stays with its pool, so that a process grows for a while in which nothing is
//! lost.
#![cfg(feature = "runtime")]

use std::path::Path;
use std::process::Command;
use std::task::{Context, Waker};

use bantam::gpu::Gpu;
use bantam::model::{Layout, LoadOptions, Model};
use bantam::runtime::{GenerationOptions, Runtime, RuntimeOptions, SessionOptions, TextModel, TextSession};
use futures::{Stream, StreamExt};

#[path = "fixtures/device/mod.rs"]
mod device;
#[path = "fixtures/host/mod.rs"]
mod host;
#[path = "fixtures/left_out/mod.rs"]
mod left_out;
#[path = "fixtures/models/mod.rs"]
mod models;
#[path = "fixtures/patience/mod.rs"]
mod patience;
use models::{compressed, demo};

const PROMPT: &str = "The little rooster";

/// Runs the test of that name in a process of its own.
fn alone(name: &str, test: impl FnOnce()) {
    const IS_ALONE: &str = "BANTAM_TEST_ALONE";
    if std::env::var_os(IS_ALONE).is_some() {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(IS_ALONE, "").env("MALLOC_ARENA_MAX", "1");
    let output = command.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "it is called otherwise");
}

fn runtime() -> Runtime {
    let adapter = std::env::var("BANTAM_DEVICE").ok();
    Runtime::new_blocking(&RuntimeOptions::default().with_device(adapter)).unwrap()
}

fn most(most: usize) -> GenerationOptions {
    GenerationOptions::default().with_max_tokens(most)
}

fn text(session: &TextSession) -> String {
    session.complete(PROMPT, &most(12)).unwrap().blocking().map(|piece| piece.unwrap().text).collect()
}

/// Bytes of memory that this process has, where the system tells it in that way.
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    // Larger where pages are, which only makes the tolerance smaller.
    Some(pages * 4096)
}

/// Does `cycle` so many times, or a quarter of them where `BANTAM_ENDURANCE` is not set. After a tenth of them the
/// process may grow by `tolerance` bytes at the most: allocators keep what they may need again, and what is dropped
/// while the device still computes is freed at another time and from another thread, so that for long there are new
/// largest amounts.
fn endure(most: usize, tolerance: u64, mut cycle: impl FnMut(usize)) {
    let cycles = if std::env::var_os("BANTAM_ENDURANCE").is_some() { most } else { most / 4 };
    if cycles < most {
        let what = format!(
            "{} of {most} cycles of {}",
            most - cycles,
            std::thread::current().name().unwrap_or_default()
        );
        left_out::report(&what, "scripts/endurance does all");
    }
    // A first runtime, model or stream takes what all later ones find.
    let warm = (cycles / 10).max(2);
    (0..warm).for_each(&mut cycle);
    let before = resident_bytes();
    (warm..cycles).for_each(&mut cycle);
    match before.zip(resident_bytes()) {
        Some((before, after)) => {
            println!("{cycles} cycles: {before} bytes, and then {after}");
            assert!(after <= before + tolerance, "{before} bytes became {after}");
        }
        None => left_out::report("how much memory a process takes", "it is not in /proc/self/statm"),
    }
}

/// Not a byte is counted any more, and soon wgpu has none either, but for what it has for itself.
fn assert_nothing_is_left(gpu: &Gpu) {
    assert_eq!(gpu.memory().used(), 0);
    patience::wait_until(|| ours(gpu) == Some(0) || ours(gpu).is_none(), "wgpu frees all buffers");
}

/// Buffers that wgpu has memory for, where it knows, but for its own.
fn ours(gpu: &Gpu) -> Option<usize> {
    let report = gpu.device().generate_allocator_report()?;
    Some(report.allocations.iter().filter(|buffer| !buffer.name.starts_with("(wgpu internal)")).count())
}

#[test]
fn streams_that_are_dropped_leave_nothing() {
    alone("streams_that_are_dropped_leave_nothing", || {
        let runtime = runtime();
        let model = runtime.load_blocking(demo(), &LoadOptions::default(), &()).unwrap();
        let session = model.open_blocking(&SessionOptions::default()).unwrap();
        let expected = text(&session);
        let taken = runtime.gpu().memory().used();
        // A kilobyte a cycle.
        endure(1000, 1 << 20, |i| {
            let mut stream = session.complete(PROMPT, &most(12)).unwrap();
            match i % 4 {
                // Not even begun.
                0 => {}
                // In the middle of the first token, as a rule: that of the prompt.
                1 => assert!(poll_once(&mut stream)),
                // In the middle of a later one.
                2 => {
                    pollster::block_on(stream.next()).unwrap().unwrap();
                    poll_once(&mut stream);
                }
                // Between two.
                _ => (0..3).for_each(|_| drop(pollster::block_on(stream.next()).unwrap().unwrap())),
            }
            drop(stream);
            if i % 100 == 99 {
                assert_eq!(text(&session), expected);
            }
            assert_eq!(runtime.gpu().memory().used(), taken);
        });
        drop(session.complete(PROMPT, &most(12)).map(|mut stream| poll_once(&mut stream)));
        drop((session, model));
        assert_nothing_is_left(runtime.gpu());
    });
}

/// Polls with nobody waiting: whether more is to come.
fn poll_once(stream: &mut (impl Stream + Unpin)) -> bool {
    !matches!(stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())), std::task::Poll::Ready(None))
}

/// The least that the model can be loaded within.
fn least(runtime: &Runtime, folder: &Path) -> LoadOptions {
    let dense = LoadOptions::default().with_layout(Layout::Dense);
    let any = dense.clone().with_budget(Some(u64::MAX));
    let files = bantam::archive::ModelFiles::open(folder).unwrap();
    let minimum = Model::plan(runtime.gpu(), &files, &any).unwrap().unwrap().minimum;
    dense.with_budget(Some(minimum))
}

/// Loads a model, lets it begin a text, and drops it in the middle of a token.
fn load_and_drop(runtime: &Runtime, folder: &Path, options: &LoadOptions, on_threads: bool) {
    let model: TextModel = match on_threads {
        true => pollster::block_on(runtime.load(folder, options, ())).unwrap(),
        false => runtime.load_blocking(folder, options, &()).unwrap(),
    };
    let session = match on_threads {
        true => pollster::block_on(model.open(&SessionOptions::default())).unwrap(),
        false => model.open_blocking(&SessionOptions::default()).unwrap(),
    };
    let mut stream = session.complete(PROMPT, &most(12)).unwrap();
    pollster::block_on(stream.next()).unwrap().unwrap();
    poll_once(&mut stream);
}

#[test]
fn models_that_are_dropped_leave_nothing() {
    alone("models_that_are_dropped_leave_nothing", || {
        let runtime = runtime();
        let (_temporary, folder) = compressed(&demo());
        let (whole, streamed) = (LoadOptions::default(), least(&runtime, &folder));
        // The memory of four such models.
        endure(200, 8 << 20, |i| {
            match i % 4 {
                0 => load_and_drop(&runtime, &demo(), &whole, false),
                1 => load_and_drop(&runtime, &folder, &whole, true),
                2 => load_and_drop(&runtime, &folder, &streamed, false),
                _ => load_and_drop(&runtime, &folder, &streamed, true),
            }
            assert_eq!(runtime.gpu().memory().used(), 0);
        });
        assert_nothing_is_left(runtime.gpu());
    });
}

#[test]
fn a_model_that_is_loaded_and_never_used_leaves_nothing_on_the_hosts_device() {
    alone("a_model_that_is_loaded_and_never_used_leaves_nothing_on_the_hosts_device", || {
        let (host, queue, uncaptured) = host::device_with_features();
        let runtime = Runtime::from_device(host.clone(), queue.clone(), &RuntimeOptions::default()).unwrap();
        let model = runtime.load_blocking(demo(), &LoadOptions::default(), &()).unwrap();
        // What loading took for a while is not kept, even if nothing else is ever submitted.
        let kept = model.model().weight_bytes() + model.model().wide_room_bytes();
        let staging = || host.generate_allocator_report().map(|report| report.total_allocated_bytes);
        patience::wait_until(|| staging().is_none_or(|bytes| bytes < kept + (1 << 20)), "staging is freed");
        let session = model.open_blocking(&SessionOptions::default()).unwrap();
        drop((model, session));
        assert_nothing_is_left(runtime.gpu());
        drop(runtime);
        host::check_usable(&host, &queue);
        assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn runtimes_that_are_dropped_leave_nothing() {
    alone("runtimes_that_are_dropped_leave_nothing", || {
        // That of as many: a device has more than that alone, and so has a compiled kernel.
        endure(32, 8 << 20, |_| load_and_drop(&runtime(), &demo(), &LoadOptions::default(), true));
    });
}
