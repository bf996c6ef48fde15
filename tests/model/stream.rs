//! Within a budget, layers that do not fit are streamed: the same bits come out, never more memory is
//! taken than the budget allows, and what goes wrong on the way is told.

use std::path::Path;
use std::sync::Arc;

use bantam::archive::{ArchiveError, ModelFiles, Options};
use bantam::codec::{Lossy, Precision};
use bantam::gpu::{Gpu, GpuError, GpuOptions, KernelChoices, Transcoded};
use bantam::model::{Layout, LoadOptions, Model, ModelError, Outputs, Precisions, Session};
use bantam::stream::{Plan, StreamError};
use bantam::tensor::Dtype;
use bantam::text::{Sampler, SamplingOptions, Tokenizer, generate};
use futures::TryStreamExt;
use serde_json::json;

use crate::device;
use crate::host;
use crate::models::{self, all_logits, assert_same_bits, compressed, compressed_with, load, load_with};
use crate::patience;
use crate::random_model;

/// Positions of the sessions that budgets are made for.
const CONTEXT: usize = 70;

/// A compressed model of ten layers.
fn ten_layers() -> (tempfile::TempDir, std::path::PathBuf) {
    let (_plain, folder) = ten_layers_plain();
    compressed(&folder)
}

/// The same, not compressed, in a folder that lasts as long as the first result.
fn ten_layers_plain() -> (tempfile::TempDir, std::path::PathBuf) {
    let sizes = json!({
        "hidden_size": 256,
        "intermediate_size": 512,
        "vocab_size": 300,
        "num_hidden_layers": 10,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "tie_word_embeddings": true,
    });
    let folder = tempfile::tempdir().unwrap();
    random_model::write(folder.path(), &random_model::config("LlamaForCausalLM", sizes), Dtype::BF16);
    let path = folder.path().to_path_buf();
    (folder, path)
}

fn tokens(vocab: usize) -> Vec<u32> {
    (0..CONTEXT as u32).map(|i| i * i * 31 % vocab as u32).collect()
}

/// Enough for two batches, where passes are only begun, dropped, or taken in turn.
fn few_tokens() -> Vec<u32> {
    tokens(300)[..20].to_vec()
}

/// Room for one session of all logits.
fn working_set(folder: &Path) -> u64 {
    let config = bantam::model::ModelConfig::open(folder).unwrap();
    Session::device_bytes(&config, CONTEXT, Outputs::All)
}

fn within(folder: &Path, budget: u64) -> LoadOptions {
    let working_set = Some(working_set(folder));
    LoadOptions::default().with_budget(Some(budget)).with_working_set(working_set).with_layout(Layout::Dense)
}

/// The same where no layout is asked for: a processor that stands in for a device decodes what is streamed.
fn auto_within(folder: &Path, budget: u64) -> LoadOptions {
    within(folder, budget).with_layout(Layout::Auto)
}

fn try_plan(gpu: &Gpu, folder: &Path, options: &LoadOptions) -> Result<Plan, ModelError> {
    Ok(Model::plan(gpu, &ModelFiles::open(folder).unwrap(), options)?.unwrap())
}

/// The smallest budget, as the refusal of a smaller one names it.
fn minimum(folder: &Path) -> u64 {
    let error = try_plan(&device::shared(), folder, &within(folder, 1000)).unwrap_err();
    let ModelError::Stream(StreamError::BudgetTooSmall { budget: 1000, minimum, .. }) = error else {
        panic!("{error}")
    };
    minimum
}

#[test]
fn a_budget_for_compressed_weights_is_told_where_it_is_too_small_for_others() {
    let (gpu, plain) = (device::shared(), models::demo());
    let (_temporary, packed) = models::compressed(&plain);
    let told = |folder: &Path, options: &LoadOptions| {
        let error = try_plan(&gpu, folder, options).unwrap_err();
        let ModelError::Stream(StreamError::BudgetTooSmall { minimum, compressed, .. }) = &error else {
            panic!("{error}")
        };
        (*minimum, *compressed, error.to_string())
    };
    let (needed, Some(enough), message) = told(&plain, &within(&plain, 1000)) else {
        panic!("nothing is told")
    };
    assert!(
        enough < needed && message.ends_with(&format!("it would need no more than {enough}")),
        "{message}"
    );
    let (_, _, message) = told(&plain, &within(&plain, enough));
    assert!(message.contains("it would run within this budget"), "{message}");
    // And so it does.
    assert!(!try_plan(&gpu, &packed, &within(&packed, enough)).unwrap().is_resident());
    assert!(minimum(&packed) <= enough);
    let raw = within(&packed, 1000).with_raw(true);
    assert!(told(&packed, &raw).1.is_some_and(|bytes| minimum(&packed) <= bytes));
    // Of what is compressed already there is nothing to say.
    assert_eq!(told(&packed, &within(&packed, 1000)).1, None);
}

/// The smallest budget within which what is streamed is decoded on its way; on a device that never does so, the
/// smallest of all.
fn least_decoded(folder: &Path) -> LoadOptions {
    let (gpu, files) = (device::shared(), ModelFiles::open(folder).unwrap());
    let plan = |budget| Model::plan(&gpu, &files, &auto_within(folder, budget));
    let mut least = plan(u64::MAX).unwrap().unwrap().minimum;
    let mut most = if gpu.is_cpu() { whole(folder) * 2 } else { least };
    while least < most {
        let middle = least.midpoint(most);
        match plan(middle).unwrap().is_some_and(|plan| plan.decodes() || plan.is_resident()) {
            true => most = middle,
            false => least = middle + 1,
        }
    }
    auto_within(folder, most)
}

/// What everything takes that stays in device memory, with room for a session, but none to widen weights in.
fn whole(folder: &Path) -> u64 {
    let plan = try_plan(&device::shared(), folder, &within(folder, u64::MAX)).unwrap();
    plan.total - plan.wide_room
}

/// The smallest budgets with which dense tiles are streamed, and with which they are decoded on their way.
fn both_ways(folder: &Path) -> [LoadOptions; 2] {
    [within(folder, minimum(folder)), least_decoded(folder)]
}

/// A session of the model within the smallest budget.
fn least_session(gpu: &Gpu, folder: &Path) -> Session {
    session_within(gpu, folder, &within(folder, minimum(folder)))
}

fn session_within(gpu: &Gpu, folder: &Path, options: &LoadOptions) -> Session {
    Session::new(&load_with(gpu, folder, options), CONTEXT, Outputs::Last).unwrap()
}

fn forward(session: &mut Session, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
    pollster::block_on(session.forward(tokens, Outputs::Last))
}

/// The model gives `wanted` within `budget` bytes: all logits at once, and the last ones token by token.
fn check_within(folder: &Path, options: &LoadOptions, wanted: &[f32], tokens: &[u32], steps: usize) -> Plan {
    let gpu = device::shared();
    let budget = options.budget.unwrap();
    let model = load_with(&gpu, folder, options);
    let plan = model.residency().unwrap().clone();
    assert!(plan.total <= budget && gpu.memory().peak() <= budget);
    assert_eq!((gpu.memory().budget(), model.gpu().memory().budget()), (None, Some(budget)));
    let what = format!("{} of {} stages streamed", plan.streamed.len(), plan.stages.len());
    let mut session = Session::new(&model, CONTEXT, Outputs::All).unwrap();
    let logits = pollster::block_on(session.forward(tokens, Outputs::All)).unwrap();
    assert_same_bits(wanted, &logits, &what);
    session.rewind(0);
    let before = (model.stream_stats(), gpu.memory().allocations());
    let vocab = model.config().vocab;
    for (token, wanted) in tokens.iter().zip(wanted.chunks(vocab)).take(steps) {
        assert_same_bits(wanted, &forward(&mut session, &[*token]).unwrap(), &what);
    }
    assert_eq!(gpu.memory().allocations(), before.1, "a token takes no device memory");
    assert!(gpu.memory().peak() <= budget && gpu.memory().used() <= budget);
    let moved = model.stream_stats().since(&before.0);
    // What comes next is brought ahead.
    let wanted = (plan.stages_a_pass * steps) as u64;
    assert!(moved.stages_moved.abs_diff(wanted) <= plan.slots as u64, "{what}: {moved:?}, {plan:?}");
    drop((session, model));
    assert_eq!(gpu.memory().used(), 0);
    plan
}

#[test]
fn every_budget_gives_the_same_bits() {
    let (_temporary, folder) = ten_layers();
    let tokens = tokens(300);
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let (whole, minimum) = (whole(&folder), minimum(&folder));
    let mut streamed = Vec::new();
    for budget in [whole, whole - 1, minimum + (whole - minimum) / 2, minimum] {
        let plan = check_within(&folder, &within(&folder, budget), &wanted, &tokens, 6);
        assert_eq!(plan.layers(), 10);
        assert!(budget > minimum || plan.streamed.len() == plan.stages.len(), "{plan:?}");
        streamed.push(plan.bytes_a_pass);
    }
    assert!(streamed[0] == 0 && streamed.is_sorted() && streamed[3] > streamed[2], "{streamed:?}");
    let fast = within(&folder, whole * 3 / 4).with_layout(Layout::Fast);
    check_within(&folder, &fast, &wanted, &tokens, 3);
    let error = try_plan(&device::shared(), &folder, &within(&folder, minimum - 1)).unwrap_err();
    assert!(error.to_string().contains(&format!("needs at least {minimum}")), "{error}");
}

#[test]
fn what_is_decoded_on_its_way_gives_the_same_bits_within_every_budget() {
    let (_temporary, folder) = ten_layers();
    let (tokens, gpu) = (tokens(300), device::shared());
    let wanted = all_logits(&load(&gpu, &folder, false), &tokens);
    let plan = |budget| try_plan(&gpu, &folder, &auto_within(&folder, budget)).unwrap();
    let (whole, least) = (plan(u64::MAX), least_decoded(&folder).budget.unwrap());
    assert!(whole.is_resident() && !whole.decodes() && whole.minimum <= minimum(&folder));
    let mut moved = Vec::new();
    for budget in [whole.total - 1, least.midpoint(whole.total), least] {
        let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
        assert_eq!(plan.decodes(), gpu.is_cpu(), "{plan:?}");
        moved.push(plan.bytes_a_pass);
    }
    // Where the fast layout just does not fit, a GPU keeps all of it in dense tiles.
    assert!(moved.is_sorted() && (moved[0] > 0) == gpu.is_cpu() && moved[0] < moved[2], "{moved:?}");
    // In a slot, weights take what they take uncompressed.
    let plan = plan(least);
    assert_eq!(plan.bytes_a_pass * 16 < plan.streamed_bytes * 12, gpu.is_cpu(), "{plan:?}");
}

#[test]
fn where_a_slot_has_no_room_for_uncompressed_weights_it_has_dense_tiles() {
    let sizes = json!({
        "hidden_size": 256, "intermediate_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 4, "tie_word_embeddings": true
    });
    let plain = tempfile::tempdir().unwrap();
    random_model::write(plain.path(), &random_model::config("LlamaForCausalLM", sizes), Dtype::BF16);
    let (_temporary, folder) = compressed(plain.path());
    let (tokens, gpu) = (tokens(300), device::shared());
    let wanted = all_logits(&load(&gpu, &folder, false), &tokens);
    let (minimum, least) = (minimum(&folder), least_decoded(&folder).budget.unwrap());
    assert_eq!(minimum < least, gpu.is_cpu());
    for budget in [minimum, least.max(minimum + 1) - 1] {
        let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
        assert!(!plan.decodes() && !plan.is_resident() && plan.minimum == minimum, "{plan:?}");
    }
    let error = try_plan(&gpu, &folder, &auto_within(&folder, minimum - 1)).unwrap_err();
    assert!(error.to_string().contains(&format!("needs at least {minimum}")), "{error}");
    let plan = check_within(&folder, &auto_within(&folder, least), &wanted, &tokens, 3);
    assert_eq!(plan.decodes(), gpu.is_cpu());
}

#[test]
fn what_is_counted_is_what_is_read_of_the_file() {
    let (_temporary, folder) = ten_layers();
    for options in both_ways(&folder) {
        let gpu = device::shared();
        let mut session = session_within(&gpu, &folder, &options);
        let model = session.model().clone();
        let plan = model.residency().unwrap().clone();
        assert_eq!(plan.streamed.len(), plan.stages.len());
        // The first stages of the next pass are brought ahead.
        let mut bytes_after = |passes: usize| {
            session.rewind(0);
            forward(&mut session, &[7]).unwrap();
            let wanted = (passes * plan.streamed.len() + plan.slots) as u64;
            let mut stats = model.stream_stats();
            for _ in 0..10_000 {
                if stats.stages_moved == wanted {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
                stats = model.stream_stats();
            }
            assert_eq!(stats.stages_moved, wanted);
            stats.bytes_moved
        };
        let a_pass = bytes_after(1).abs_diff(bytes_after(2));
        let stored = stored(&folder);
        assert!(a_pass > stored * 9 / 10 && a_pass < stored, "{a_pass} {stored}");
        match plan.decodes() {
            true => assert_eq!(a_pass, plan.bytes_a_pass),
            // The plan counts what lies between the pieces too.
            false => assert!(a_pass <= plan.bytes_a_pass && plan.bytes_a_pass < stored),
        }
    }
}

#[test]
fn what_was_rounded_is_streamed_too() {
    let (_plain, plain) = ten_layers_plain();
    let lossy = Some(Lossy::new(3, 512).unwrap());
    let (_temporary, folder) = compressed_with(&plain, &Options::DEFAULT.with_lossy(lossy));
    let tokens = tokens(300);
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let (whole, minimum) = (whole(&folder), minimum(&folder));
    for budget in [whole - 1, minimum + (whole - minimum) / 2, minimum] {
        let plan = check_within(&folder, &within(&folder, budget), &wanted, &tokens, 3);
        assert!(plan.embedding_on_host, "{plan:?}");
    }
    let decoded = least_decoded(&folder);
    for budget in [whole - 1, decoded.budget.unwrap()] {
        let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
        assert_eq!(plan.decodes(), device::shared().is_cpu(), "{plan:?}");
    }
}

#[test]
fn less_precision_moves_fewer_bytes() {
    let (_temporary, folder) = ten_layers();
    let (tokens, gpu) = (tokens(300), device::shared());
    let precision: Precisions = Precision::Mantissa(3).into();
    let resident = LoadOptions::default().with_layout(Layout::Dense).with_precision(precision.clone());
    let wanted = all_logits(&load_with(&gpu, &folder, &resident), &tokens);
    let least = |precision: Precisions| {
        let told = try_plan(&gpu, &folder, &within(&folder, u64::MAX).with_precision(precision.clone()));
        let options = within(&folder, told.unwrap().minimum);
        options.with_precision(precision)
    };
    let lossless = try_plan(&gpu, &folder, &least(Precisions::default())).unwrap();
    let plan = check_within(&folder, &least(precision), &wanted, &tokens, 3);
    assert_eq!(plan.streamed.len(), plan.stages.len());
    assert_eq!(lossless.streamed.len(), lossless.stages.len());
    // Two thirds of all weights are what is left, or less.
    assert!(plan.bytes_a_pass * 3 < lossless.bytes_a_pass * 2);
    // Decoded on its way, no more is read, and the bits that are not are what they are on a device.
    let budget = least_decoded(&folder).budget.unwrap();
    let auto = |precision| auto_within(&folder, budget).with_precision(precision);
    let lossless = try_plan(&gpu, &folder, &auto(Precisions::default())).unwrap();
    for bits in [3, 5] {
        let precision: Precisions = Precision::Mantissa(bits).into();
        let resident = resident.clone().with_precision(precision.clone());
        let wanted = all_logits(&load_with(&gpu, &folder, &resident), &tokens);
        let plan = check_within(&folder, &auto(precision), &wanted, &tokens, 3);
        assert_eq!(plan.decodes(), gpu.is_cpu());
        assert!(plan.bytes_a_pass * 8 < lossless.bytes_a_pass * 7, "{plan:?}");
    }
}

#[test]
fn streamed_passes_are_cut_too() {
    let (_temporary, folder) = ten_layers();
    let tokens = tokens(300);
    // Of this test alone, since it counts what is submitted.
    let own = device::gpu();
    let wanted = all_logits(&load(&own, &folder, false), &tokens);
    let (whole, minimum) = (whole(&folder), minimum(&folder));
    // A product of its own at a time; and about a layer of 64 tokens.
    for (budget, work) in [(minimum, 1), ((whole + minimum) / 2, 1), ((whole + minimum) / 2, 40 << 20)] {
        let gpu = own.with_share(None);
        let count = |gpu: &Gpu| {
            let model = load_with(gpu, &folder, &within(&folder, budget));
            let mut session = Session::new(&model, CONTEXT, Outputs::All).unwrap();
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, &format!("{budget} bytes, {work} at a time"));
            let before = (gpu.submissions(), gpu.memory().allocations());
            session.rewind(0);
            assert_same_bits(&wanted[..300], &forward(&mut session, &tokens[..1]).unwrap(), "one token");
            assert_eq!(gpu.memory().allocations(), before.1);
            assert!(gpu.memory().peak() <= budget);
            let plan = model.residency().unwrap();
            // A row of the embedding may be brought; then comes what is before the first streamed stage, and
            // each of these.
            let least = u64::from(plan.embedding_on_host) + 1 + plan.streamed.len() as u64;
            (gpu.submissions() - before.0, least, session.dispatches_a_token() as u64)
        };
        let (submissions, least, _) = count(&gpu);
        assert_eq!(submissions, least);
        let (submissions, least, dispatches) = count(&gpu.with_submission_work(work));
        match work {
            // Norms, rotations and such are not counted, and have no submission of their own.
            1 => assert!(submissions > dispatches / 2 && submissions < dispatches, "{submissions}"),
            // A token is less than a layer's batch.
            _ => assert_eq!(submissions, least),
        }
    }
}

/// Bytes of a model's files.
fn stored(folder: &Path) -> u64 {
    let files = ModelFiles::open(folder).unwrap();
    files.sources().iter().map(|source| std::fs::metadata(source.path()).unwrap().len()).sum()
}

/// What a model goes on with, within `options`.
fn text(folder: &Path, options: &LoadOptions, prompt: &str, most: usize) -> String {
    let gpu = device::shared();
    let tokenizer = Tokenizer::open(folder).unwrap();
    let model = load_with(&gpu, folder, options);
    let mut session = Session::new(&model, CONTEXT, Outputs::Last).unwrap();
    let prompt = tokenizer.encode(prompt, true).unwrap();
    let sampler = Sampler::new(&SamplingOptions::default()).unwrap();
    let pieces = generate(&mut session, &tokenizer, &prompt, sampler, most);
    let pieces: Vec<_> = pollster::block_on(pieces.try_collect()).unwrap();
    assert!(options.budget.is_none_or(|budget| gpu.memory().peak() <= budget));
    pieces.into_iter().map(|piece| piece.text).collect()
}

#[test]
fn the_demo_model_tells_the_same_story_within_every_budget() {
    let (_temporary, folder) = compressed(&models::demo());
    let (prompt, tokens) = ("The little rooster", tokens(1024));
    let wanted = text(&folder, &LoadOptions::default(), prompt, 60);
    assert!(wanted.starts_with(" was called Bantam"), "{wanted}");
    let logits = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let (room, stored) = (working_set(&folder), stored(&folder));
    let minimum = minimum(&folder);
    assert!(minimum < room + stored / 2, "{minimum} {room} {stored}");
    for budget in [room + stored, room + stored * 3 / 4, room + stored / 2, minimum] {
        check_within(&folder, &within(&folder, budget), &logits, &tokens, 3);
        assert_eq!(text(&folder, &within(&folder, budget), prompt, 60), wanted);
    }
    let auto = within(&folder, room + stored / 2).with_layout(Layout::Auto);
    assert_eq!(text(&folder, &auto, prompt, 60), wanted);
}

#[test]
fn matrices_of_every_kind_are_streamed_and_looked_up() {
    let sizes = json!({
        "hidden_size": 96, "intermediate_size": 160, "vocab_size": 4000, "num_attention_heads": 6,
        "num_key_value_heads": 3, "head_dim": 16
    });
    let tokens = tokens(4000)[..24].to_vec();
    for (architecture, tied, dtype, clean) in [
        ("LlamaForCausalLM", false, Dtype::BF16, 0),
        ("Qwen2ForCausalLM", true, Dtype::F16, 3),
        ("Qwen3ForCausalLM", false, Dtype::F32, 16),
    ] {
        let mut config = random_model::config(architecture, sizes.clone());
        config["tie_word_embeddings"] = tied.into();
        let folder = tempfile::tempdir().unwrap();
        random_model::write_clean(folder.path(), &config, dtype, clean);
        let (_temporary, folder) = compressed(folder.path());
        let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
        let (whole, minimum) = (whole(&folder), minimum(&folder));
        for budget in [minimum, whole - 1] {
            let plan = check_within(&folder, &within(&folder, budget), &wanted, &tokens, 3);
            assert!(plan.embedding_on_host);
            // An embedding of its own leaves room for all others.
            assert_eq!(plan.is_resident(), !tied && budget == whole - 1);
            assert!(budget > minimum || plan.streamed_output().0 > 1, "{plan:?}");
        }
        let decoded = least_decoded(&folder);
        let room = whole - decoded.budget.unwrap().min(whole);
        for budget in [decoded.budget.unwrap(), whole - room / 2] {
            let plan = check_within(&folder, &auto_within(&folder, budget), &wanted, &tokens, 3);
            assert_eq!(plan.decodes(), device::shared().is_cpu() && !plan.is_resident(), "{plan:?}");
            let is_cpu = device::shared().is_cpu();
            assert!(!is_cpu || plan.decodes() || budget > decoded.budget.unwrap(), "{plan:?}");
        }
        let raw = within(&folder, whole * 4).with_raw(true);
        let whole = try_plan(&device::shared(), &folder, &raw).unwrap().total;
        if !tied {
            let raw = raw.with_budget(Some(whole - 1));
            assert!(check_within(&folder, &raw, &wanted, &tokens, 3).embedding_on_host);
        }
    }
}

#[test]
fn a_batch_that_wants_no_logits_moves_no_output_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let sizes =
        json!({ "hidden_size": 128, "vocab_size": 3000, "num_attention_heads": 4, "num_key_value_heads": 2 });
    let config = random_model::config("LlamaForCausalLM", sizes);
    random_model::write(folder.path(), &config, Dtype::BF16);
    let (_temporary, folder) = compressed(folder.path());
    let gpu = device::shared();
    let mut session = least_session(&gpu, &folder);
    let model = session.model().clone();
    let plan = model.residency().unwrap().clone();
    let output = plan.streamed_output().0 as u64;
    assert!(output > plan.slots as u64 && plan.streamed.len() == plan.stages.len(), "{plan:?}");
    // Two batches, of which the first wants none.
    let tokens: Vec<u32> = (0..CONTEXT as u32).collect();
    forward(&mut session, &tokens).unwrap();
    let moved = model.stream_stats().stages_moved;
    let wanted = 2 * plan.streamed.len() as u64 - output;
    assert!(moved.abs_diff(wanted) <= plan.slots as u64, "{moved} {wanted}");
}

#[test]
fn smollm2_runs_within_every_budget() {
    let Some(folder) = models::optional("smollm2") else { return };
    let (_temporary, folder) = compressed(&folder);
    let tokens = &tokens(49152)[..20];
    let wanted = all_logits(&load(&device::shared(), &folder, false), tokens);
    let (working_set, minimum) = (working_set(&folder), minimum(&folder));
    let stored = stored(&folder);
    assert!(minimum < working_set + stored / 20, "{minimum} {working_set} {stored}");
    let options = |percent| within(&folder, stored * percent / 100 + working_set);
    for percent in [100, 50, 25, 10, 5] {
        check_within(&folder, &options(percent), &wanted, tokens, 2);
        let auto = options(percent).with_layout(Layout::Auto);
        let plan = check_within(&folder, &auto, &wanted, tokens, 2);
        assert_eq!(plan.decodes(), device::shared().is_cpu(), "{percent} %: {plan:?}");
    }
    let prompt = "The capital of France is";
    let story = text(&folder, &options(100), prompt, 8);
    assert!(story.contains("Paris"), "{story}");
    assert_eq!(text(&folder, &options(10), prompt, 8), story);
}

#[test]
fn a_device_without_shared_memory_is_copied_to() {
    let (_temporary, folder) = ten_layers();
    let tokens = few_tokens();
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    // A host's device has the features that the host asked for: here none.
    let own = device::shared();
    let adapters = pollster::block_on(bantam::gpu::adapters());
    let info = own.device().adapter_info();
    let same =
        |a: &&wgpu::Adapter| (a.get_info().name, a.get_info().backend) == (info.name.clone(), info.backend);
    let adapter = adapters.iter().find(same).unwrap();
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    // Attention adds in the order of the same kind of device.
    let gpu = Gpu::from_device(device, queue, None).with_target(own.target());
    let middle = (minimum(&folder) + whole(&folder)) / 2;
    for options in [within(&folder, middle), auto_within(&folder, middle)] {
        let model = load_with(&gpu, &folder, &options);
        let plan = model.residency().unwrap();
        // One for shaders, and two that the host fills.
        assert_eq!(plan.ring, 3 * plan.slot_bytes);
        assert_eq!(plan.decodes(), gpu.is_cpu() && options.layout == Layout::Auto);
        let mut session = Session::new(&model, CONTEXT, Outputs::All).unwrap();
        for _ in 0..3 {
            session.rewind(0);
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, "copied");
        }
    }
    assert!(gpu.memory().peak() <= middle);
}

#[test]
fn sessions_take_turns() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let sessions = 3;
    let options = within(&folder, minimum(&folder) + sessions * working_set(&folder))
        .with_working_set(Some(sessions * working_set(&folder)));
    let model = load_with(&gpu, &folder, &options);
    assert!(!model.residency().unwrap().is_resident());
    let tokens = few_tokens();
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let run = |model: &Arc<Model>| {
        let mut session = Session::new(model, CONTEXT, Outputs::All).unwrap();
        for _ in 0..3 {
            session.rewind(0);
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, "side by side");
        }
    };
    std::thread::scope(|scope| (0..sessions).for_each(|_| drop(scope.spawn(|| run(&model)))));
    assert!(gpu.memory().peak() <= options.budget.unwrap());
}

#[test]
fn a_pass_that_is_dropped_leaves_nothing_behind() {
    let (_temporary, folder) = ten_layers();
    both_ways(&folder).iter().for_each(|options| drop_passes(&folder, options));
}

fn drop_passes(folder: &Path, options: &LoadOptions) {
    let gpu = device::shared();
    let (mut session, tokens) = (session_within(&gpu, folder, options), few_tokens());
    let wanted = forward(&mut session, &tokens).unwrap();
    for polls in 1..12 {
        session.rewind(0);
        {
            let mut pass = Box::pin(session.forward(&tokens, Outputs::Last));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            for _ in 0..polls {
                if pass.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        session.rewind(0);
        assert_same_bits(&wanted, &forward(&mut session, &tokens).unwrap(), "after a dropped pass");
    }
    session.rewind(0);
    let mut pass = Box::pin(session.forward(&tokens, Outputs::Last));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(pass.as_mut().poll(&mut context).is_pending());
    drop(pass);
    drop(session);
    assert_eq!(gpu.memory().used(), 0);
}

#[test]
fn a_file_that_is_cut_short_is_an_error_and_one_that_is_removed_is_none() {
    // Neither are bytes that somebody writes taken for weights, whatever they are decoded to.
    let cut = |file: &std::fs::File| file.set_len(1000).unwrap();
    let overwrite = |file: &std::fs::File| {
        let len = file.metadata().unwrap().len();
        std::io::Write::write_all(&mut &*file, &vec![0xff; len as usize]).unwrap();
    };
    for way in [0, 1] {
        change_a_file(way, cut);
        change_a_file(way, overwrite);
    }
}

fn change_a_file(way: usize, change: impl Fn(&std::fs::File)) {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let (mut session, tokens) = (session_within(&gpu, &folder, &both_ways(&folder)[way]), few_tokens());
    let wanted = forward(&mut session, &tokens).unwrap();
    let path = ModelFiles::open(&folder).unwrap().sources()[0].path().to_path_buf();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    session.rewind(0);
    assert_same_bits(&wanted, &forward(&mut session, &tokens).unwrap(), "without a name");
    change(&file);
    session.rewind(0);
    // What was brought before may still do for one pass.
    let error = (0..2).find_map(|_| {
        session.rewind(0);
        forward(&mut session, &tokens).err()
    });
    let error = error.unwrap();
    assert!(matches!(error, ModelError::Archive(ArchiveError::Changed { .. })), "{error}");
    assert!(error.to_string().contains("was changed while it was in use"), "{error}");
    assert_eq!(session.position(), 0);
    drop(session);
    assert_eq!(gpu.memory().used(), 0);
    // The device is as good as before.
    gpu.buffer("still there", 1000, wgpu::BufferUsages::STORAGE).unwrap();
}

#[test]
fn a_file_that_is_cut_short_while_it_is_loaded_is_an_error() {
    let (_temporary, folder) = ten_layers();
    let path = ModelFiles::open(&folder).unwrap().sources()[0].path().to_path_buf();
    let whole = std::fs::read(&path).unwrap();
    let [dense, decoded] = both_ways(&folder);
    for options in [LoadOptions::default(), dense, decoded] {
        for part in [20, 9, 3] {
            std::fs::write(&path, &whole).unwrap();
            let files = ModelFiles::open(&folder).unwrap();
            let left = whole.len() as u64 * part / 21;
            std::fs::File::options().write(true).open(&path).unwrap().set_len(left).unwrap();
            let gpu = device::shared();
            let error = pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap_err();
            assert!(matches!(error, ModelError::Archive(ArchiveError::Changed { .. })), "{error}");
            assert_eq!(gpu.memory().used(), 0);
        }
    }
}

#[test]
fn the_automatic_layout_asks_whether_the_fast_one_is_faster() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let auto = |budget| within(&folder, budget).with_layout(Layout::Auto);
    let fast = within(&folder, u64::MAX).with_layout(Layout::Fast);
    let whole = try_plan(&gpu, &folder, &fast).unwrap().total;
    let slower = gpu.with_choices(KernelChoices { fast_is_faster: false, ..*gpu.choices() });
    let slower_plan = |budget| try_plan(&slower, &folder, &auto(budget)).unwrap().transcoded;
    for budget in [u64::MAX, whole, whole - 1] {
        assert_eq!(slower_plan(budget), None);
        let plan = try_plan(&gpu, &folder, &auto(budget)).unwrap();
        if gpu.is_cpu() || budget >= whole {
            assert_eq!(plan.transcoded, Some(Transcoded::Fast));
        } else {
            // If not all of it fits, only a CPU has it.
            assert!(plan.is_resident() && plan.transcoded != Some(Transcoded::Fast), "{plan:?}");
        }
    }
    // Without a limit of the model's, the device's budget says the same.
    for budget in [whole, whole - 1] {
        let gpu = device::open(GpuOptions { budget: Some(budget), ..Default::default() });
        let plan = try_plan(&gpu, &folder, &auto(budget).with_budget(None)).unwrap();
        // All of it fits in another layout.
        let (is_fast, is_resident) = (gpu.is_cpu() || budget >= whole, !gpu.is_cpu() || budget >= whole);
        assert_eq!((plan.transcoded == Some(Transcoded::Fast), plan.is_resident()), (is_fast, is_resident));
    }
}

#[test]
fn what_is_not_compressed_cannot_be_streamed() {
    let folder = tempfile::tempdir().unwrap();
    let config = random_model::config("Qwen2ForCausalLM", json!({ "tie_word_embeddings": true }));
    random_model::write(folder.path(), &config, Dtype::F32);
    let (whole, minimum) = (whole(folder.path()), minimum(folder.path()));
    assert_eq!(whole, minimum);
    let plan = try_plan(&device::shared(), folder.path(), &within(folder.path(), minimum)).unwrap();
    assert!(plan.is_resident());
    load_with(&device::shared(), folder.path(), &within(folder.path(), minimum));
}

#[test]
fn a_session_takes_what_it_is_said_to() {
    for (outputs, joins) in [(Outputs::Last, false), (Outputs::All, false), (Outputs::All, true)] {
        let gpu = device::gpu();
        let gpu = gpu.with_choices(KernelChoices { joins, ..*gpu.choices() });
        let model = load(&gpu, &models::demo(), true);
        let before = gpu.memory().used();
        let _session = Session::new(&model, 100, outputs).unwrap();
        let (taken, told) =
            (gpu.memory().used() - before, Session::device_bytes(model.config(), 100, outputs));
        // Joined matrices have fewer dispatches, and no results of their own: this is not counted upon. Nor is it that
        // raw weights are never widened.
        let most = if joins { taken + taken / 2 } else { taken + taken / 4 };
        assert!(taken <= told && told <= most, "{taken} {told}");
    }
}

#[test]
fn a_session_that_is_too_large_is_refused_and_another_one_is_not() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let model = load_with(&gpu, &folder, &within(&folder, minimum(&folder)));
    let error = Session::new(&model, 10_000, Outputs::Last).unwrap_err();
    assert!(matches!(error, ModelError::Gpu(GpuError::OutOfMemory { .. })), "{error}");
    let mut session = Session::new(&model, CONTEXT, Outputs::Last).unwrap();
    forward(&mut session, &[1, 2, 3]).unwrap();
}

#[test]
fn a_lost_device_is_an_error() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::gpu();
    let (mut session, tokens) = (least_session(&gpu, &folder), tokens(300));
    forward(&mut session, &tokens).unwrap();
    {
        session.rewind(0);
        let mut pass = Box::pin(session.forward(&tokens, Outputs::Last));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(pass.as_mut().poll(&mut context).is_pending());
        gpu.device().destroy();
        let error = pollster::block_on(pass).unwrap_err();
        assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error}");
    }
    let error = forward(&mut session, &tokens).unwrap_err();
    assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error}");
    drop(session);
    assert_eq!(gpu.memory().used(), 0);
}

#[test]
fn computing_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    let gpu = device::shared();
    let mut session = Session::new(&load(&gpu, &models::demo(), true), 10, Outputs::Last).unwrap();
    is_send(&session.forward(&[1], Outputs::Last));
}

/// Polls with nobody to wake.
fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut context).is_ready()
}

#[test]
fn a_pass_that_was_begun_and_is_not_polled_stops_no_other_session() {
    patience::patiently(|| {
        let (_temporary, folder) = ten_layers();
        for options in both_ways(&folder) {
            let gpu = device::shared();
            let working_set = options.working_set.map(|bytes| 2 * bytes);
            let budget = options.budget.map(|budget| budget + working_set.unwrap());
            let options = options.with_working_set(working_set).with_budget(budget);
            let model = load_with(&gpu, &folder, &options);
            let session = || Session::new(&model, CONTEXT, Outputs::Last).unwrap();
            let (mut begun, mut other, tokens) = (session(), session(), few_tokens());
            let wanted = forward(&mut other, &tokens).unwrap();
            let mut pass = Box::pin(begun.forward(&tokens, Outputs::Last));
            assert!(!poll_once(&mut pass), "it is streamed");
            for _ in 0..2 {
                other.rewind(0);
                assert_same_bits(&wanted, &forward(&mut other, &tokens).unwrap(), "the other");
            }
            assert_same_bits(&wanted, &pollster::block_on(pass).unwrap(), "the one that waited");
            // And one that is dropped in the middle leaves its session as it was.
            begun.rewind(0);
            let mut pass = Box::pin(begun.forward(&tokens, Outputs::Last));
            assert!(!poll_once(&mut pass));
            drop(pass);
            assert_same_bits(&wanted, &forward(&mut begun, &tokens).unwrap(), "again");
            let mut pass = Box::pin(other.forward(&[1], Outputs::Last));
            poll_once(&mut pass);
            drop(pass);
            drop((begun, other, model));
            assert_eq!(gpu.memory().used(), 0);
        }
    });
}

#[test]
fn a_host_may_wait_in_every_thread_of_the_pool_that_all_share() {
    patience::patiently(|| {
        let (_temporary, folder) = ten_layers();
        let gpu = device::shared();
        let mut session = session_within(&gpu, &folder, &least_decoded(&folder));
        assert_eq!(session.model().residency().unwrap().decodes(), gpu.is_cpu());
        let wanted = forward(&mut session, &[7]).unwrap();
        session.rewind(0);
        let session = std::sync::Mutex::new(session);
        // The last of these threads waits for the device, and the others for it.
        let all = std::sync::Barrier::new(rayon::current_num_threads());
        rayon::broadcast(|_| {
            all.wait();
            let mut session = session.lock().unwrap();
            session.rewind(0);
            assert_same_bits(&wanted, &forward(&mut session, &[7]).unwrap(), "in a pool");
        });
    });
}

#[test]
fn no_slot_is_larger_than_a_buffer_can_be() {
    let (_temporary, folder) = ten_layers();
    let tokens = tokens(300);
    let wanted = all_logits(&load(&device::shared(), &folder, false), &tokens);
    for options in both_ways(&folder) {
        // A layer has more, and every matrix of it less.
        let most = 400_000;
        let limits = |adapter: &wgpu::Adapter| {
            let allowed = bantam::gpu::required_limits(adapter);
            let binding = most / 4 * 4;
            wgpu::Limits { max_buffer_size: most, max_storage_buffer_binding_size: binding, ..allowed }
        };
        let (device, queue, uncaptured) = host::device_with(bantam::gpu::required_features, limits);
        let gpu = device::as_asked(Gpu::from_device(device, queue, None));
        let plan = try_plan(&gpu, &folder, &options).unwrap();
        assert!(plan.slot_bytes <= most && plan.streamed.len() > 10, "{plan:?}");
        assert_same_bits(&wanted, &all_logits(&load_with(&gpu, &folder, &options), &tokens), "small slots");
        assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn sessions_of_a_model_share_one_table_of_rotations() {
    let (gpu, context) = (device::gpu(), 4096);
    let model = load(&gpu, &models::demo(), false);
    let used = || gpu.memory().used();
    let weights = used();
    let session = |context| Session::new(&model, context, Outputs::Last).unwrap();
    let first = session(context);
    let of_first = used() - weights;
    let second = session(context);
    let of_second = used() - weights - of_first;
    let table = (context * model.config().head_dim / 2 * 8) as u64;
    assert_eq!(of_first - of_second, table, "it is there once, and counted");
    // A shorter one has it too, and a longer one has its own.
    drop(first);
    let short = session(16);
    drop(second);
    let tokens = models::prompt(&models::demo(), "The little rooster", 10);
    let mut long = session(2 * context);
    let mut both = [short, session(16)];
    let [a, b] = both.each_mut().map(|session| forward(session, &tokens).unwrap());
    assert_same_bits(&a, &b, "tables of two lengths");
    assert_same_bits(&a, &forward(&mut long, &tokens).unwrap(), "a longer table");
    drop((both, long));
    assert_eq!(used(), weights, "the table goes with the last session");
}

/// Bytes that this thread has read of files, where the system counts them.
fn read_by_this_thread() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

#[test]
fn whoever_polls_a_model_that_is_loaded_reads_none_of_its_files() {
    let (_temporary, folder) = compressed(&models::demo());
    for folder in [models::demo(), folder] {
        let (gpu, files) = (device::shared(), ModelFiles::open(&folder).unwrap());
        let options = LoadOptions::default().with_budget(Some(1 << 30));
        // Drivers read too, what they compiled before.
        pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap();
        let Some(before) = read_by_this_thread() else {
            println!("left out: the system does not count what a thread reads");
            return;
        };
        pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap();
        let read = read_by_this_thread().unwrap() - before;
        assert!(read < 10_000, "{read} bytes were read by the thread that polls");
    }
}
