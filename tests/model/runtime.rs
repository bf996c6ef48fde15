//! What an application sees: models that share a device, its kernels and one budget, and text as a stream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bantam::archive::Progress;
use bantam::gpu::{Gpu, GpuError, GpuOptions};
use bantam::model::{Layout, LoadOptions, ModelError};
use bantam::runtime::{
    Generation, GenerationOptions, Runtime, RuntimeError, RuntimeOptions, SessionOptions, TextModel,
    TextSession, Working,
};
use bantam::stream::StreamError;
use bantam::text::{End, Message, SamplingOptions};
use futures::StreamExt;

use crate::host;
use crate::left_out;
use crate::models::{compressed, demo};

const PROMPT: &str = "The little rooster";

fn runtime(budget: Option<u64>) -> Runtime {
    let adapter = std::env::var("BANTAM_DEVICE").ok();
    Runtime::new_blocking(&RuntimeOptions::default().with_device(adapter).with_budget(budget)).unwrap()
}

fn dense() -> LoadOptions {
    LoadOptions::default().with_layout(Layout::Dense)
}

fn most(most: usize) -> GenerationOptions {
    GenerationOptions::default().with_max_tokens(most)
}

/// A session of the room that models leave for one.
fn open(model: &TextModel) -> TextSession {
    model.open_blocking(&SessionOptions::default()).unwrap()
}

fn text(generation: Generation) -> String {
    generation.blocking().map(|piece| piece.unwrap().text).collect()
}

/// A text, and what the stream says of its end.
fn told(mut generation: Generation) -> (String, End) {
    let mut text = String::new();
    let mut last = None;
    while let Some(piece) = pollster::block_on(generation.next()) {
        assert_eq!((last, generation.end().is_some()), (None, piece.as_ref().unwrap().end.is_some()));
        let piece = piece.unwrap();
        text += &piece.text;
        last = piece.end;
    }
    assert_eq!(generation.end(), last);
    (text, last.expect("the last piece has an end"))
}

fn story(model: &TextModel) -> String {
    text(open(model).complete(PROMPT, &most(30)).unwrap())
}

#[test]
fn a_folder_is_loaded_in_one_call_and_goes_on_from_a_text() {
    let runtime = runtime(None);
    let story = pollster::block_on(async {
        let model = runtime.load(demo(), &LoadOptions::default(), ()).await.unwrap();
        let session = model.open(&SessionOptions::default().with_context(Some(100))).await.unwrap();
        let mut pieces = session.complete(PROMPT, &most(30)).unwrap();
        let mut story = String::new();
        while let Some(piece) = pieces.next().await {
            story += &piece.unwrap().text;
        }
        story
    });
    assert!(story.starts_with(" was called Bantam, and he lived"), "{story}");
    assert_eq!(runtime.gpu().memory().used(), 0);
}

#[test]
fn a_device_of_the_host_gives_the_same_text() {
    let (host, queue, uncaptured) = host::device_with_features();
    let guest = Runtime::from_device(host.clone(), queue.clone(), &RuntimeOptions::default()).unwrap();
    let own = runtime(None);
    let [theirs, ours] = [&guest, &own].map(|r| story(&r.load_blocking(demo(), &dense(), &()).unwrap()));
    assert_eq!(theirs, ours);
    host::check_usable(&host, &queue);
    drop(guest);
    host::check_usable(&host, &queue);
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_device_with_too_low_limits_is_refused_by_name() {
    let adapter = host::adapter();
    let low = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..wgpu::Limits::default() };
    let descriptor = wgpu::DeviceDescriptor { required_limits: low, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let error = Runtime::from_device(device, queue, &RuntimeOptions::default()).unwrap_err();
    assert!(matches!(error, RuntimeError::Gpu(GpuError::LimitTooLow { allowed: 4, .. })), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("max_storage_buffers_per_shader_stage of 4") && message.contains("required_limits")
    );
    // wgpu's own defaults are enough.
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let runtime = Runtime::from_device(device, queue, &RuntimeOptions::default()).unwrap();
    story(&runtime.load_blocking(demo(), &dense(), &()).unwrap());
}

/// A budget would be worth little if the driver reserved much more: wgpu's blocks are of 128 MiB and more where
/// nobody says otherwise.
#[test]
fn the_driver_reserves_about_what_is_counted() {
    let reserved = |budget| {
        let runtime = runtime(budget);
        let model = runtime.load_blocking(demo(), &dense(), &()).unwrap();
        story(&model);
        let report = runtime.gpu().device().generate_allocator_report()?;
        Some((report.total_reserved_bytes, runtime.gpu().memory().peak()))
    };
    let Some((bytes, counted)) = reserved(Some(64 << 20)) else {
        let why = "this driver does not say what it reserves";
        return left_out::report("what the driver reserves under a budget", why);
    };
    // A block of each kind of memory may be begun.
    assert!(bytes <= counted + 3 * (8 << 20), "{bytes} bytes for {counted}");
    let (unlimited, _) = reserved(None).unwrap();
    assert!(bytes < unlimited, "{bytes} bytes, and {unlimited} without a budget");
}

#[test]
fn an_equal_model_compiles_no_kernel() {
    let runtime = runtime(None);
    let (_temporary, folder) = compressed(&demo());
    let first = runtime.load_blocking(&folder, &dense(), &()).unwrap();
    let story_of_first = story(&first);
    let kernels = runtime.gpu().kernels();
    assert!(kernels > 0);
    let second = runtime.load_blocking(&folder, &dense(), &()).unwrap();
    assert_eq!(story(&second), story_of_first);
    assert_eq!(runtime.gpu().kernels(), kernels);
    // One in another form needs others.
    assert_eq!(story(&runtime.load_blocking(demo(), &dense(), &()).unwrap()), story_of_first);
    assert!(runtime.gpu().kernels() > kernels);
}

/// Bytes that the compressed model takes that stays, with room for the usual session, and at least.
fn needs(folder: &std::path::Path) -> (u64, u64) {
    let files = bantam::archive::ModelFiles::open(folder).unwrap();
    let options = dense().with_budget(Some(u64::MAX));
    let plan = bantam::model::Model::plan(runtime(None).gpu(), &files, &options).unwrap().unwrap();
    (plan.total, plan.minimum)
}

#[test]
fn models_share_one_budget() {
    let (_temporary, folder) = compressed(&demo());
    let (whole, least) = needs(&folder);
    assert!(least < whole);
    // One stays, one is streamed through what is left, and for a third there is nothing.
    let budget = whole + least;
    let runtime = runtime(Some(budget));
    let load = || runtime.load_blocking(&folder, &dense(), &());
    let memory = || runtime.gpu().memory();

    let first = load().unwrap();
    assert!(first.model().residency().unwrap().is_resident());
    // What is left to the session of the first is not given to the second, though nobody uses it yet.
    assert_eq!(memory().left(), Some(least));
    assert!(memory().used() < whole);
    let second = load().unwrap();
    assert!(!second.model().residency().unwrap().is_resident());
    let error = load().unwrap_err();
    let RuntimeError::Model(ModelError::Stream(StreamError::BudgetTooSmall { minimum, .. })) = error else {
        panic!("{error}")
    };
    assert_eq!(minimum, least);

    // Both have the room that they were promised.
    let [one, two] = [&first, &second].map(open);
    let stories = [&one, &two].map(|session| text(session.complete(PROMPT, &most(30)).unwrap()));
    assert_eq!(stories[0], stories[1]);
    assert!(memory().peak() <= budget);
    let used = [&first, &second].map(|model| model.model().gpu().memory().used());
    assert_eq!(used[0] + used[1], memory().used());

    // A model that goes makes room for another, and the budget is what it was.
    drop((one, first));
    assert_eq!(memory().budget(), Some(budget));
    let third = load().unwrap();
    assert!(third.model().residency().unwrap().is_resident());
    assert_eq!(story(&third), stories[0]);
    drop((two, second, third));
    assert_eq!((memory().used(), memory().left()), (0, Some(budget)));
}

#[test]
fn a_models_own_limit_ends_with_it() {
    let (_temporary, folder) = compressed(&demo());
    let (whole, least) = needs(&folder);
    let runtime = runtime(None);
    let limited = dense().with_budget(Some(least));
    let small = runtime.load_blocking(&folder, &limited, &()).unwrap();
    assert!(!small.model().residency().unwrap().is_resident());
    assert_eq!(runtime.gpu().memory().budget(), None);
    let large = runtime.load_blocking(&folder, &dense(), &()).unwrap();
    assert!(large.model().residency().is_none(), "without a limit nothing is planned");
    assert_eq!(story(&small), story(&large));
    // The limit holds for sessions too, of this model alone.
    let long = SessionOptions::default().with_context(Some(2048));
    let error = small.open_blocking(&long).unwrap_err();
    assert!(matches!(error, RuntimeError::Gpu(GpuError::OutOfMemory { budget: Some(b), .. }) if b == least));
    large.open_blocking(&long).unwrap();
    assert!(small.model().gpu().memory().peak() <= least && least < whole);
    drop((small, large));
    assert_eq!(runtime.gpu().memory().used(), 0);
}

#[test]
fn models_can_be_loaded_side_by_side() {
    let (_temporary, folder) = compressed(&demo());
    let (whole, _) = needs(&folder);
    let runtime = runtime(Some(3 * whole));
    let loading: Vec<Working<TextModel>> = (0..3).map(|_| runtime.load(&folder, &dense(), ())).collect();
    let models: Vec<_> = loading.into_iter().map(|l| pollster::block_on(l).unwrap()).collect();
    assert!(models.iter().all(|model| model.model().residency().unwrap().is_resident()));
    let threads: Vec<_> = models.into_iter().map(|model| std::thread::spawn(move || story(&model))).collect();
    let stories: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:?}");
    assert!(runtime.gpu().memory().peak() <= 3 * whole);
    assert_eq!(runtime.gpu().memory().used(), 0);
}

#[test]
fn a_conversation_goes_on_where_it_was() {
    let runtime = runtime(None);
    let model = runtime.load_blocking(demo(), &dense(), &()).unwrap();
    let session = open(&model);
    let mut messages = vec![Message::user("Tell me a story about a goat.")];
    let (first, end) = told(session.answer(&messages, &most(20)).unwrap());
    assert!(!first.trim().is_empty());
    let prompt = model.conversation(&messages).unwrap();
    assert_eq!((end.prompt_tokens, end.reused_tokens), (prompt.len(), 0));
    assert!(end.generated_tokens > 0);
    messages.extend([Message::assistant(first), Message::user("And then?")]);
    let (_, end) = told(session.answer(&messages, &most(20)).unwrap());
    let longer = model.conversation(&messages).unwrap();
    let same = longer.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
    assert_eq!(end.prompt_tokens, longer.len());
    assert!((same..longer.len()).contains(&end.reused_tokens), "{end:?}");
    // The same comes out as in a session that saw nothing before: of the conversation, and of anything else.
    let answer = |session: &TextSession| text(session.answer(&messages, &most(20)).unwrap());
    assert_eq!(answer(&session), answer(&open(&model)));
    let other = |session: &TextSession| text(session.complete(PROMPT, &most(20)).unwrap());
    assert_eq!(other(&session), other(&open(&model)));
}

#[test]
fn a_session_writes_one_text_at_a_time() {
    let runtime = runtime(None);
    let session = open(&runtime.load_blocking(demo(), &dense(), &()).unwrap());
    let first = session.complete(PROMPT, &most(5)).unwrap();
    let error = session.complete(PROMPT, &most(5)).unwrap_err();
    assert!(matches!(error, RuntimeError::SessionBusy), "{error}");
    drop(first);
    let mut done = Box::pin(session.complete(PROMPT, &most(2)).unwrap());
    while pollster::block_on(done.next()).is_some() {}
    // A stream that has ended keeps nobody waiting.
    text(session.complete(PROMPT, &most(5)).unwrap());
    drop(done);
    let warm = SamplingOptions::default().with_temperature(-1.0);
    let error = session.complete(PROMPT, &most(1).with_sampling(warm)).unwrap_err();
    assert!(matches!(error, RuntimeError::Text(_)), "{error}");
}

#[test]
fn a_model_without_a_template_does_not_chat() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(demo()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "tokenizer_config.json" {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let model = runtime(None).load_blocking(folder.path(), &dense(), &()).unwrap();
    let error = open(&model).answer(&[Message::user("Hello")], &most(1)).unwrap_err();
    assert!(matches!(error, RuntimeError::NoChatTemplate { .. }), "{error}");
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let error = model.runtime().load_blocking(folder.path(), &dense(), &()).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

/// Notes what it is told.
#[derive(Default)]
struct Noted {
    calls: Mutex<Vec<String>>,
    advanced: AtomicU64,
}

impl Progress for Noted {
    fn begin(&self, total_bytes: u64, what: &str) {
        self.calls.lock().unwrap().push(format!("begin {total_bytes} {what}"));
    }
    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::Relaxed);
    }
    fn finish(&self) {
        self.calls.lock().unwrap().push("finish".into());
    }
}

#[test]
fn loading_tells_how_far_it_is() {
    let noted = Arc::new(Noted::default());
    let runtime = runtime(None);
    let model = pollster::block_on(runtime.load(demo(), &dense(), noted.clone())).unwrap();
    let total: u64 = model.files().weights().map(|weight| weight.original_len as u64).sum();
    assert_eq!(*noted.calls.lock().unwrap(), [format!("begin {total} loading"), "finish".into()]);
    assert_eq!(noted.advanced.load(Ordering::Relaxed), total);
}

#[test]
fn everything_can_move_between_threads_and_be_kept() {
    fn is_send<T: Send + 'static>() {}
    fn is_sync<T: Send + Sync + 'static>() {}
    is_sync::<Runtime>();
    is_sync::<TextModel>();
    is_sync::<TextSession>();
    is_send::<Working<TextModel>>();
    is_send::<Generation>();
    // In any order of going.
    let runtime = runtime(None);
    let model = runtime.load_blocking(demo(), &dense(), &()).unwrap();
    let session = open(&model);
    let generation = session.complete(PROMPT, &most(3)).unwrap();
    drop((runtime, model, session));
    assert!(!text(generation).is_empty());
}

#[test]
fn the_work_of_a_submission_can_be_chosen() {
    let adapter = std::env::var("BANTAM_DEVICE").ok();
    let with = |submission_work| {
        RuntimeOptions::default().with_device(adapter.clone()).with_submission_work(submission_work)
    };
    let count = |runtime: Runtime| {
        let model = runtime.load_blocking(demo(), &LoadOptions::default(), &()).unwrap();
        let session = open(&model);
        let before = runtime.gpu().submissions();
        let text: String =
            session.complete(PROMPT, &most(1)).unwrap().blocking().map(|piece| piece.unwrap().text).collect();
        (text, runtime.gpu().submissions() - before)
    };
    let (text, one) = count(Runtime::new_blocking(&with(None)).unwrap());
    let (same, several) = count(Runtime::new_blocking(&with(Some(1_000_000))).unwrap());
    let (host, queue, _errors) = host::device();
    let (too, as_many) = count(Runtime::from_device(host, queue, &with(Some(1_000_000))).unwrap());
    assert_eq!((&text, &text, one, several), (&same, &too, 1, as_many));
    assert!(several > 3, "{several}");
    let device = adapter.clone();
    let options = GpuOptions { device, submission_work: Some(7), ..GpuOptions::default() };
    assert_eq!(pollster::block_on(Gpu::open(&options)).unwrap().submission_work(), 7);
}

/// Keeps the thread that each message of the tokenizer and the chat template comes from.
#[derive(Default)]
struct Threads(Mutex<Vec<(String, std::thread::ThreadId)>>);

impl log::Log for Threads {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("bantam::text")
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = format!("{}", record.args());
            self.0.lock().unwrap().push((message, std::thread::current().id()));
        }
    }
    fn flush(&self) {}
}

static THREADS: Threads = Threads(Mutex::new(Vec::new()));

#[test]
fn the_thread_that_polls_neither_tokenises_nor_renders() {
    log::set_logger(&THREADS).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let model = runtime(None).load_blocking(demo(), &dense(), &()).unwrap();
    let session = open(&model);
    // No other test has texts of these lengths.
    let words = "hen ".repeat(111);
    told(session.complete(&words, &most(1)).unwrap());
    let messages: Vec<Message> =
        (0..37).map(|i| Message::new(["user", "assistant"][i % 2], "Go on.")).collect();
    let (_, end) = told(session.answer(&messages, &most(1)).unwrap());
    assert_eq!(end.prompt_tokens, model.conversation(&messages).unwrap().len());

    log::set_max_level(log::LevelFilter::Off);
    let threads = THREADS.0.lock().unwrap();
    let of = |message: &str| -> Vec<bool> {
        let here = std::thread::current().id();
        threads.iter().filter(|(said, _)| said == message).map(|(_, thread)| *thread == here).collect()
    };
    assert_eq!(of("tokenising 444 bytes"), [false]);
    // Once or more on a worker thread, and then as often here, where the test itself asks for the tokens.
    let rendered = of("rendering 37 messages");
    let (there, here) = rendered.split_at(rendered.len() / 2);
    assert!(
        !there.is_empty() && there.iter().all(|here| !here) && here.iter().all(|here| *here),
        "{rendered:?}"
    );
}

/// Counts what loading asks and says, and cancels it when it asks for the `at`th time.
struct CancelledAt {
    at: usize,
    asked: AtomicU64,
    begun: AtomicU64,
    advanced_after: AtomicU64,
}

impl CancelledAt {
    fn new(at: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self { at, asked: zero(), begun: zero(), advanced_after: zero() }
    }
    fn is_over(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > self.at as u64
    }
}

impl Progress for CancelledAt {
    fn begin(&self, _: u64, _: &str) {
        self.begun.store(1, Ordering::SeqCst);
    }
    fn advance(&self, bytes: u64) {
        if self.is_over() {
            self.advanced_after.fetch_add(bytes, Ordering::SeqCst);
        }
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.is_over()
    }
}

#[test]
fn loading_ends_in_whatever_phase_it_is_cancelled_and_gives_its_memory_back() {
    let (_temporary, folder) = compressed(&demo());
    let (whole, _) = needs(&folder);
    let runtime = runtime(Some(whole * 2));
    // Transcoded, and planned with precisions that are measured.
    let options = || {
        let precision = bantam::model::Precisions::Auto;
        LoadOptions::default().with_layout(Layout::Fast).with_precision(precision)
    };
    let (mut phases, mut at) = ([0, 0], 0);
    loop {
        let progress = Arc::new(CancelledAt::new(at));
        match pollster::block_on(runtime.load(&folder, &options(), progress.clone())) {
            Err(error) => assert!(matches!(error, RuntimeError::Cancelled), "{error}"),
            Ok(_) => break,
        }
        assert_eq!(progress.asked.load(Ordering::SeqCst), at as u64 + 1, "it went on after it was cancelled");
        assert_eq!(progress.advanced_after.load(Ordering::SeqCst), 0);
        assert_eq!(runtime.gpu().memory().used(), 0);
        assert_eq!(runtime.gpu().memory().left(), Some(whole * 2), "nothing stays promised");
        phases[progress.begun.load(Ordering::SeqCst) as usize] += 1;
        at += if phases[1] < 5 { 1 } else { 29 };
    }
    let [planning, loading] = phases;
    assert!(planning >= 3 && loading > 8, "{phases:?}");
}

/// Lets its operation go on only once the test says so.
struct Held {
    reached: Mutex<std::sync::mpsc::Sender<()>>,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
    advanced: Arc<AtomicU64>,
}

impl Progress for Held {
    fn begin(&self, _: u64, _: &str) {}
    fn advance(&self, _: u64) {
        if self.advanced.fetch_add(1, Ordering::SeqCst) == 1 {
            self.reached.lock().unwrap().send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }
    fn finish(&self) {}
}

#[test]
fn loading_that_nobody_waits_for_ends_in_the_middle() {
    let runtime = runtime(None);
    let (reached, is_reached) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let advanced = Arc::new(AtomicU64::new(0));
    let progress = Held { reached: reached.into(), go_on: may_go_on.into(), advanced: advanced.clone() };
    let loading = runtime.load(demo(), &dense(), progress);
    is_reached.recv().unwrap();
    assert!(runtime.gpu().memory().used() > 0);
    drop(loading);
    go_on.send(()).unwrap();
    // Dropping the runtime waits for what was cancelled.
    let gpu = runtime.gpu().clone();
    drop(runtime);
    assert_eq!(advanced.load(Ordering::SeqCst), 2, "it loaded on");
    assert_eq!(gpu.memory().used(), 0);
}
