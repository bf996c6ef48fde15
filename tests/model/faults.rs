//! What goes wrong while an application runs a model comes out as an error that says what it is. Nothing panics
//! or hangs, what is not concerned goes on, and so does the host's device.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bantam::archive::{ArchiveError, ModelFiles, Progress};
use bantam::gpu::GpuError;
use bantam::model::{Layout, LoadOptions, Model, ModelError};
use bantam::runtime::{
    Generation, GenerationOptions, Runtime, RuntimeError, RuntimeOptions, SessionOptions, TextModel,
};
use bantam::stream::StreamError;
use futures::StreamExt;

use crate::host;
use crate::left_out;
use crate::models::{compressed, demo};
use crate::patience::{patiently, wait_until};

const PROMPT: &str = "The little rooster";

/// Tokens of a stream.
const TOKENS: usize = 20;

fn runtime() -> Runtime {
    runtime_within(None)
}

fn runtime_within(budget: Option<u64>) -> Runtime {
    let adapter = std::env::var("BANTAM_DEVICE").ok();
    Runtime::new_blocking(&RuntimeOptions::default().with_device(adapter).with_budget(budget)).unwrap()
}

fn dense() -> LoadOptions {
    LoadOptions::default().with_layout(Layout::Dense)
}

/// A stream of a session that nothing else knows.
fn begin(model: &TextModel) -> Result<Generation, RuntimeError> {
    let options = GenerationOptions::default().with_max_tokens(TOKENS);
    model.open_blocking(&SessionOptions::default())?.complete(PROMPT, &options)
}

fn story(model: &TextModel) -> String {
    begin(model).unwrap().blocking().map(|piece| piece.unwrap().text).collect()
}

/// A stream in the middle of a token.
fn in_a_token(model: &TextModel) -> Generation {
    let mut stream = begin(model).unwrap();
    pollster::block_on(stream.next()).unwrap().unwrap();
    // On a fast device it may be there at once; then the next, or the one after it, is not.
    for _ in 1..TOKENS {
        match stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return stream,
            Poll::Ready(piece) => drop(piece.expect("there are more tokens").unwrap()),
        }
    }
    panic!("every token was there at once: nothing happens in the middle of one");
}

/// The first error of a stream, behind which it ends.
fn error_of(mut stream: Generation) -> RuntimeError {
    pollster::block_on(async {
        loop {
            if let Err(error) = stream.next().await.expect("it ended without an error") {
                assert!(stream.next().await.is_none());
                return error;
            }
        }
    })
}

/// The least that the model can be loaded within.
fn least(folder: &Path) -> LoadOptions {
    let any = dense().with_budget(Some(u64::MAX));
    let plan = Model::plan(runtime().gpu(), &ModelFiles::open(folder).unwrap(), &any);
    dense().with_budget(Some(plan.unwrap().unwrap().minimum))
}

/// Everything fails with the device's end, and nothing but that.
fn check_lost(runtime: &Runtime) {
    let model = runtime.load_blocking(demo(), &dense(), &()).unwrap();
    let other = begin(&model).unwrap();
    let stream = in_a_token(&model);
    runtime.gpu().device().destroy();
    for stream in [stream, other] {
        let error = error_of(stream);
        assert!(error.is_device_lost(), "{error:?}");
    }
    for error in [
        begin(&model).unwrap_err(),
        pollster::block_on(model.open(&SessionOptions::default())).unwrap_err(),
        pollster::block_on(runtime.load(demo(), &dense(), ())).unwrap_err(),
    ] {
        assert!(error.is_device_lost(), "{error:?}");
    }
    drop(model);
    assert_eq!(runtime.gpu().memory().used(), 0);
}

#[test]
fn a_device_that_is_lost_in_the_middle_of_a_token_is_an_error_and_another_works() {
    patiently(|| {
        let expected = story(&runtime().load_blocking(demo(), &dense(), &()).unwrap());
        check_lost(&runtime());
        let (host, queue, uncaptured) = host::device_with_features();
        check_lost(&Runtime::from_device(host, queue, &RuntimeOptions::default()).unwrap());
        assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
        let again = runtime();
        assert_eq!(story(&again.load_blocking(demo(), &dense(), &()).unwrap()), expected);
    });
}

#[test]
fn a_device_that_is_lost_while_a_model_is_loaded_is_an_error() {
    patiently(|| {
        let (_temporary, folder) = compressed(&demo());
        for after in [0, 300_000, 1_500_000] {
            let runtime = runtime();
            let at = At { bytes: after, ..At::default() };
            let device = runtime.gpu().device().clone();
            let progress = Destroying(at, device);
            let error = pollster::block_on(runtime.load(&folder, &dense(), progress)).unwrap_err();
            assert!(error.is_device_lost(), "{error:?}");
            assert_eq!(runtime.gpu().memory().used(), 0);
        }
    });
}

/// Something is to happen when so many bytes have been loaded.
#[derive(Default)]
struct At {
    bytes: u64,
    loaded: AtomicU64,
}

impl At {
    fn is_there(&self, more: u64) -> bool {
        self.loaded.fetch_add(more, Ordering::Relaxed) + more >= self.bytes
    }
}

/// Destroys the device then.
struct Destroying(At, wgpu::Device);

impl Progress for Destroying {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, bytes: u64) {
        if self.0.is_there(bytes) {
            self.1.destroy();
        }
    }
    fn finish(&self) {}
}

/// Cancels then.
#[derive(Default)]
struct Cancelling(At);

impl Progress for Cancelling {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, bytes: u64) {
        self.0.is_there(bytes);
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.0.is_there(0)
    }
}

#[test]
fn loading_is_cancelled_and_gives_everything_back() {
    let (host, queue, uncaptured) = host::device_with_features();
    let runtime = Runtime::from_device(host.clone(), queue.clone(), &RuntimeOptions::default()).unwrap();
    let (_temporary, folder) = compressed(&demo());
    for bytes in [0, 1, 300_000, 1_500_000] {
        let cancelling = Arc::new(Cancelling(At { bytes, ..At::default() }));
        let error = pollster::block_on(runtime.load(&folder, &dense(), cancelling.clone())).unwrap_err();
        assert!(matches!(error, RuntimeError::Cancelled), "{error:?}");
        assert!(cancelling.0.loaded.load(Ordering::Relaxed) >= bytes);
        assert_eq!(runtime.gpu().memory().used(), 0);
        let error = runtime.load_blocking(&folder, &dense(), &*cancelling).unwrap_err();
        assert!(matches!(error, RuntimeError::Cancelled), "{error:?}");
    }
    host::check_usable(&host, &queue);
    story(&runtime.load_blocking(&folder, &dense(), &()).unwrap());
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
}

/// Waits, in the middle of loading, until it is told to go on.
struct Waiting {
    reached: std::sync::mpsc::SyncSender<()>,
    go_on: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    finished: Arc<AtomicU64>,
}

impl Progress for Waiting {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, _: u64) {
        // Only the first time does anybody listen.
        let _ = self.reached.try_send(());
        let _ = self.go_on.lock().unwrap().recv();
    }
    fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn loading_that_nobody_waits_for_ends() {
    patiently(|| {
        let runtime = runtime();
        let (reached, is_reached) = std::sync::mpsc::sync_channel(1);
        let (tell, go_on) = std::sync::mpsc::channel();
        let finished = Arc::<AtomicU64>::default();
        let waiting = Waiting { reached, go_on: go_on.into(), finished: finished.clone() };
        let mut loading = Box::pin(runtime.load(demo(), &dense(), waiting));
        is_reached.recv().unwrap();
        assert!(runtime.gpu().memory().used() > 0);
        // It can be polled meanwhile, and says at once that it is not there.
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(loading.as_mut().poll(&mut context), Poll::Pending));
        drop(loading);
        tell.send(()).unwrap();
        wait_until(|| runtime.gpu().memory().used() == 0, "loading ends");
        wait_until(|| finished.load(Ordering::Relaxed) == 1, "loading is finished");
        // The last handle waits for what is left of it.
        drop((tell, runtime));
    });
}

#[test]
fn a_budget_that_is_too_small_names_one_that_is_not() {
    let runtime = runtime_within(Some(1 << 20));
    let (_temporary, folder) = compressed(&demo());
    let error = runtime.load_blocking(&folder, &dense(), &()).unwrap_err();
    let RuntimeError::Model(ModelError::Stream(StreamError::BudgetTooSmall { minimum, .. })) = error else {
        panic!("{error}")
    };
    assert_eq!((runtime.gpu().memory().used(), runtime.gpu().memory().left()), (0, Some(1 << 20)));
    let enough = runtime_within(Some(minimum));
    let model = enough.load_blocking(&folder, &dense(), &()).unwrap();
    let long = SessionOptions::default().with_context(Some(30_000));
    let error = pollster::block_on(model.open(&long)).unwrap_err();
    assert!(matches!(error, RuntimeError::Gpu(GpuError::OutOfMemory { .. })), "{error}");
    story(&model);
}

/// Buffers until the device has no memory for another, which is the error that comes back.
fn exhaust(runtime: &Runtime) -> GpuError {
    let mut taken = Vec::new();
    loop {
        match runtime.gpu().buffer("a lot", 1 << 30, wgpu::BufferUsages::COPY_DST) {
            Ok(buffer) => taken.push(buffer),
            Err(error) => return error,
        }
        assert!(taken.len() < 16, "the process has more memory than it was left");
    }
}

/// A device whose memory is that of the process runs out of it where the process does: in one of its own, which
/// the system allows so many addresses. No memory is used for this.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_the_device_does_not_have_is_an_error_and_the_rest_goes_on() {
    const IS_CHILD: &str = "BANTAM_TEST_FEW_ADDRESSES";
    if std::env::var_os(IS_CHILD).is_none() {
        let name = "faults::memory_that_the_device_does_not_have_is_an_error_and_the_rest_goes_on";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -v 8000000; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
        let output = command.args([name, "--exact", "--nocapture"]).env(IS_CHILD, "").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        println!("{printed}");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(printed.contains("1 passed"), "it is called otherwise");
        return;
    }
    // Whatever kernels are for: it is the device's own memory.
    if runtime().gpu().device().adapter_info().device_type != wgpu::DeviceType::Cpu {
        left_out::report("a device without memory", "this one's memory is not that of the process");
        return;
    }
    let (host, queue, uncaptured) = host::device_with_features();
    let runtime = Runtime::from_device(host.clone(), queue.clone(), &RuntimeOptions::default()).unwrap();
    let model = runtime.load_blocking(demo(), &dense(), &()).unwrap();
    let expected = story(&model);
    let used = runtime.gpu().memory().used();
    for _ in 0..3 {
        let error = exhaust(&runtime);
        assert!(matches!(error, GpuError::OutOfMemory { budget: None, .. }), "{error:?}");
        assert_eq!(runtime.gpu().memory().used(), used);
        host::check_usable(&host, &queue);
    }
    assert_eq!(story(&model), expected);
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_file_that_is_cut_short_ends_its_own_models_streams_only() {
    patiently(|| {
        let runtime = runtime();
        let (_temporary, folder) = compressed(&demo());
        let (_other, untouched) = compressed(&demo());
        let [cut, whole] =
            [&folder, &untouched].map(|path| runtime.load_blocking(path, &least(path), &()).unwrap());
        let expected = story(&whole);
        let stream = in_a_token(&cut);
        let path = cut.files().sources()[0].path();
        std::fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
        let error = error_of(stream);
        assert!(matches!(error, RuntimeError::Archive(ArchiveError::Changed { .. })), "{error:?}");
        let error = error_of(begin(&cut).unwrap());
        assert!(matches!(error, RuntimeError::Archive(ArchiveError::Changed { .. })), "{error:?}");
        assert_eq!(story(&whole), expected);
    });
}

#[test]
fn streams_that_are_dropped_leave_the_hosts_device_as_it_was() {
    let (host, queue, uncaptured) = host::device_with_features();
    let runtime = Runtime::from_device(host.clone(), queue.clone(), &RuntimeOptions::default()).unwrap();
    let (_temporary, folder) = compressed(&demo());
    for options in [dense(), least(&folder)] {
        let model = runtime.load_blocking(&folder, &options, &()).unwrap();
        for _ in 0..5 {
            drop(in_a_token(&model));
            host::check_usable(&host, &queue);
        }
        drop((in_a_token(&model), model));
        assert_eq!(runtime.gpu().memory().used(), 0);
    }
    drop(runtime);
    host::check_usable(&host, &queue);
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
}
