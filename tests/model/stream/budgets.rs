//! Every budget gives the same bits, or is refused.

use std::path::Path;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, GpuOptions, KernelChoices, Transcoded};
use bantam::model::{Layout, LoadOptions, ModelError, Outputs, Session};
use bantam::stream::{Plan, StreamError};
use bantam::tensor::Dtype;
use bantam::text::{Sampler, SamplingOptions, Tokenizer, generate};
use futures::TryStreamExt;
use serde_json::json;

use super::{
    CONTEXT, auto_within, both_ways, forward, least_decoded, minimum, ten_layers, tokens, try_plan, whole,
    within, working_set,
};
use crate::models::{self, all_logits, assert_same_bits, compressed, load, load_with};
use crate::{device, host, random_model};

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

/// The model gives `wanted` within `budget` bytes: all logits at once, and the last ones token by token.
pub(super) fn check_within(
    folder: &Path,
    options: &LoadOptions,
    wanted: &[f32],
    tokens: &[u32],
    steps: usize,
) -> Plan {
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
        let plan = check_within(&folder, &within(&folder, budget), &wanted, &tokens, 3);
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

/// Bytes of a model's files.
pub(super) fn stored(folder: &Path) -> u64 {
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
    let wanted = text(&folder, &LoadOptions::default(), prompt, 30);
    assert!(wanted.starts_with(" was called Bantam"), "{wanted}");
    let logits = all_logits(&load(&device::shared(), &folder, false), &tokens);
    let (room, stored) = (working_set(&folder), stored(&folder));
    let minimum = minimum(&folder);
    assert!(minimum < room + stored / 2, "{minimum} {room} {stored}");
    for budget in [room + stored, room + stored * 3 / 4, room + stored / 2, minimum] {
        check_within(&folder, &within(&folder, budget), &logits, &tokens, 3);
        assert_eq!(text(&folder, &within(&folder, budget), prompt, 30), wanted);
    }
    let auto = within(&folder, room + stored / 2).with_layout(Layout::Auto);
    assert_eq!(text(&folder, &auto, prompt, 30), wanted);
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
