//! Text comes out as a stream that can be stopped, and mistakes come out as errors that say what
//! they are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, KernelChoices, Pace};
use bantam::model::{
    CacheType, ContextLimit, Layout, LoadOptions, Model, ModelConfig, ModelError, Outputs, Session,
};
use bantam::tensor::Dtype;
use bantam::text::{
    End, GenerationError, Limits, Piece, Sampler, SamplingOptions, StopReason, Tokenizer, complete, generate,
};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::device;
use crate::models::{self, compressed, demo, load};
use crate::random_model::{self, config};

const PROMPT: &str = "The little rooster";

fn greedy() -> Sampler {
    Sampler::new(&SamplingOptions::default()).unwrap()
}

/// The text of up to `most` more tokens, and their number.
fn text(session: &mut Session, prompt: &[u32], most: usize) -> Result<(String, usize), GenerationError> {
    let tokenizer = Tokenizer::open(&demo()).unwrap();
    let pieces = generate(session, &tokenizer, prompt, greedy(), most);
    let pieces: Vec<_> = pollster::block_on(pieces.try_collect())?;
    let tokens = pieces.iter().filter(|p| p.token.is_some()).count();
    Ok((pieces.into_iter().map(|p| p.text).collect(), tokens))
}

fn prompt() -> Vec<u32> {
    Tokenizer::open(&demo()).unwrap().encode(PROMPT, true).unwrap()
}

fn try_load(gpu: &Gpu, folder: &Path) -> Result<Model, ModelError> {
    pollster::block_on(Model::load(gpu, &ModelFiles::open(folder)?, &LoadOptions::default(), &()))
}

#[test]
fn the_demo_model_tells_the_same_story_compressed_and_raw() {
    let gpu = device::shared();
    let (_temporary, small) = compressed(&demo());
    let [raw, tiled] = [(&demo(), true), (&small, false)].map(|(folder, raw)| {
        let mut session = Session::new(&load(&gpu, folder, raw), 200, Outputs::Last).unwrap();
        text(&mut session, &prompt(), 150).unwrap()
    });
    assert_eq!(raw, tiled);
    let (story, tokens) = tiled;
    assert!(story.starts_with(" was called Bantam, and he lived"), "{story}");
    assert!(story.contains(". ") && tokens > 40, "{story}");
}

#[test]
fn a_token_takes_one_submission_no_buffer_and_so_many_dispatches() {
    let gpu = device::gpu();
    // Two norms, seven products, rotations, attention, and what is between the products of the MLP. Where
    // matrices are joined, queries, keys and values are one product, and gate, up and what follows are another.
    // Before the layers comes the look-up of the token, behind them a norm, a product, and finding the likeliest.
    for (joins, a_layer) in [(false, 12), (true, 8)] {
        let gpu = gpu.with_choices(KernelChoices { joins, joins_tiles: joins, ..*gpu.choices() });
        check_a_token(&gpu, &load(&gpu, &demo(), true), a_layer);
    }
}

fn check_a_token(gpu: &Gpu, model: &Arc<Model>, dispatches_a_layer: usize) {
    let mut session = Session::new(model, 64, Outputs::Last).unwrap();
    assert_eq!(session.dispatches_a_token(), dispatches_a_layer * model.config().layers + 4);
    let prompt = prompt();
    let mut next = pollster::block_on(session.likeliest(&prompt)).unwrap();
    let counts = || (gpu.submissions(), gpu.memory().allocations());
    let before = counts();
    for _ in 0..10 {
        next = pollster::block_on(session.likeliest(&[next])).unwrap();
    }
    assert_eq!(counts(), (before.0 + 10, before.1));
    for _ in 0..10 {
        let top = pollster::block_on(session.top(&[next], 40)).unwrap().unwrap();
        next = top.placed[0].place;
    }
    assert_eq!(counts(), (before.0 + 20, before.1));
}

#[test]
fn kernels_are_compiled_before_they_are_used_where_that_is_asked_for() {
    let (_temporary, folder) = compressed(&demo());
    let files = ModelFiles::open(&folder).unwrap();
    let gpu = device::gpu();
    let wanted = models::all_logits(&load(&gpu, &folder, false), &prompt());
    let within = |budget| LoadOptions::default().with_budget(budget).with_layout(Layout::Dense);
    let least = Model::plan(&gpu, &files, &within(Some(u64::MAX))).unwrap().unwrap().minimum;
    // All weights stay, and as many as can be are streamed.
    for budget in [None, Some(least)] {
        let model = models::load_with(&gpu.with_warm_up(), &folder, &within(budget));
        assert_eq!(model.residency().is_some_and(|plan| !plan.is_resident()), budget.is_some());
        let mut session = Session::new(&model, 64, Outputs::Last).unwrap();
        let mut pass = |tokens: &[u32]| {
            let before = (gpu.submissions(), gpu.compile_time());
            session.rewind(0);
            let logits = pollster::block_on(session.forward(tokens, Outputs::Last)).unwrap();
            (logits, gpu.submissions() - before.0, gpu.compile_time() - before.1)
        };
        let (first, submissions, compiling) = pass(&prompt());
        let (second, usual, nothing) = pass(&prompt());
        assert!(submissions > usual && compiling > Duration::ZERO, "{submissions} {usual} {compiling:?}");
        assert_eq!(nothing, Duration::ZERO);
        assert_eq!(budget.is_some(), usual > 1);
        let last = &wanted[wanted.len() - first.len()..];
        models::assert_same_bits(last, &first, "compiled before");
        models::assert_same_bits(last, &second, "again");
        // One token has kernels of its own.
        assert!(pass(&prompt()[..1]).2 > Duration::ZERO);
        assert_eq!(pass(&prompt()[..1]).2, Duration::ZERO);
    }
}

#[test]
fn the_longest_context_is_known_before_and_more_is_refused() {
    let folder = demo();
    let config = ModelConfig::open(&folder).unwrap();
    let a_position = (2 * config.kv_heads * config.head_dim * 4) as u64;
    let gpu = device::gpu_with_bindings_of(200 * a_position + 4);
    for (cache, most) in [(CacheType::F32, 200), (CacheType::F16, 400)] {
        assert_eq!(Session::most_context(&gpu, &config, cache), most);
        let model = load(&gpu, &folder, true);
        let mut session = Session::with_cache(&model, most, Outputs::Last, cache).unwrap();
        pollster::block_on(session.likeliest(&prompt())).unwrap();
        let memory = gpu.memory().used();
        match Session::with_cache(&model, most + 1, Outputs::Last, cache) {
            Err(ModelError::ContextTooLong { context, most: named, limit: ContextLimit::Binding { .. } }) => {
                assert_eq!((context, named), (most + 1, most));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(gpu.memory().used(), memory);
    }
    // What the driver's loops allow is just what kernels are recorded for.
    let gpu = device::shared();
    let most = Session::most_context(&gpu, &config, CacheType::F32);
    let error = Session::check_context(&gpu, &config, most + 1, CacheType::F32).unwrap_err();
    if matches!(error, ModelError::ContextTooLong { limit: ContextLimit::Rounds, .. }) {
        let model = load(&gpu, &folder, true);
        assert_eq!(Session::new(&model, most, Outputs::Last).unwrap().context(), most);
    }
    assert!(error.to_string().contains(&format!("has at most {most}, because ")), "{error}");
}

/// A compressed model whose matrices are whole row blocks, and multiply-adds of one of its layers for the first
/// 64 tokens.
fn whole_blocks() -> (tempfile::TempDir, std::path::PathBuf, u64) {
    let (hidden, q, kv, intermediate, tokens) = (128, 128, 64, 192, 64);
    let sizes = json!({
        "hidden_size": hidden, "intermediate_size": intermediate, "vocab_size": 320,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    });
    let plain = tempfile::tempdir().unwrap();
    random_model::write(plain.path(), &config("LlamaForCausalLM", sizes), Dtype::BF16);
    let (temporary, folder) = compressed(plain.path());
    let weights = hidden * (2 * q + 2 * kv) + 3 * hidden * intermediate;
    // Each token looks at as many positions as the last, with keys and with values.
    (temporary, folder, tokens * weights + tokens * tokens * 2 * q)
}

#[test]
fn a_pass_is_as_many_submissions_as_its_work_asks_for() {
    let (_temporary, folder, layer) = whole_blocks();
    let gpu = device::gpu();
    let model = load(&gpu, &folder, false);
    let tokens: Vec<u32> = (0..70).map(|i| i * i * 7 % 320).collect();
    let wanted = models::all_logits(&model, &tokens);
    let layers = model.config().layers as u64;
    // All dispatches of a token but two norms, rotations and what is between the products of the MLP in a
    // layer, the look-up, the last norm and the likeliest. Of these, one a layer is attention, and one is the
    // output matrix's.
    let single = Session::new(&model, 1, Outputs::Last).unwrap().dispatches_a_token() as u64 - 4 * layers - 3;
    let products = single - layers - 1;

    // For the first 64 tokens, whose products are cut into groups of sixteen where all are too much; and for
    // one token.
    for (work, of_batch, of_token) in [
        (u64::MAX, 1, 1),
        (layers * layer + 320 * 128, 1, 1),
        (layers * layer, 2, 1),
        (layer, layers + 1, 1),
        (2 * layer, layers / 2 + 1, 1),
        (1, 4 * products + layers + 1, single),
    ] {
        let model = load(&gpu.with_submission_work(work), &folder, false);
        let mut session = Session::new(&model, 70, Outputs::All).unwrap();
        let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
        models::assert_same_bits(&wanted, &logits, &format!("{work} at a time"));
        session.rewind(0);
        let counts = || (gpu.submissions(), gpu.memory().allocations());
        let before = counts();
        pollster::block_on(session.likeliest(&tokens[..64])).unwrap();
        let between = counts();
        assert_eq!(between, (before.0 + of_batch, before.1), "{work} at a time");
        for (token, wanted) in tokens.iter().zip(wanted.chunks(320)).skip(64) {
            let logits = pollster::block_on(session.forward(&[*token], Outputs::Last)).unwrap();
            models::assert_same_bits(wanted, &logits, "one token");
        }
        assert_eq!(counts(), (between.0 + 6 * of_token, between.1), "{work} at a time");
    }
}

#[test]
fn submissions_do_not_run_ahead_of_the_device() {
    let gpu = device::gpu();
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let buffers = [0, 1].map(|_| gpu.buffer("copied", 4 << 20, usage).unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let mut pace = Pace::default();
    for submitted in 0..20usize {
        pollster::block_on(pace.next(&gpu)).unwrap();
        let done_before = done.load(Ordering::SeqCst);
        assert!(done_before + 1 >= submitted, "{done_before} of {submitted} are done");
        gpu.submit("copy", |encoder| {
            encoder.copy_buffer_to_buffer(buffers[0].raw(), 0, buffers[1].raw(), 0, None);
        })
        .unwrap();
        let theirs = done.clone();
        gpu.queue().on_submitted_work_done(move || {
            theirs.fetch_add(1, Ordering::SeqCst);
        });
    }
}

#[test]
fn a_cache_of_f16_takes_half_the_memory_and_gives_nearly_the_same_logits() {
    let gpu = device::shared();
    let model = load(&gpu, &demo(), false);
    let prompt: Vec<u32> = prompt().into_iter().cycle().take(100).collect();
    let before = gpu.memory().used();
    let [(full, full_bytes), (half, half_bytes)] = [CacheType::F32, CacheType::F16].map(|cache_type| {
        let mut session = Session::with_cache(&model, 100, Outputs::All, cache_type).unwrap();
        let bytes = gpu.memory().used() - before;
        // Both kinds of dispatches: a batch, and single tokens.
        let mut logits = pollster::block_on(session.forward(&prompt[..90], Outputs::All)).unwrap();
        for token in &prompt[90..] {
            logits.extend(pollster::block_on(session.forward(&[*token], Outputs::Last)).unwrap());
        }
        (logits, bytes)
    });
    let config = model.config();
    let cached = config.layers * 2 * config.kv_heads * 100 * config.head_dim;
    assert_eq!(full_bytes - half_bytes, 2 * cached as u64);

    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |a, v| a.max(v.abs()));
    let (largest, off) =
        (most(&mut full.iter().copied()), most(&mut full.iter().zip(&half).map(|(a, b)| a - b)));
    // An F16 is within 2^-11 of a number (2^-10 where a device does not round to nearest). Keys so far
    // off change weights, and values change results, by about as much, relatively, and what is added up
    // over the layers is rounded independently: twice the worse of the two is ample.
    assert!(off > 0.0 && off < largest / 512.0, "off by {off} of {largest}");
}

#[test]
fn the_likeliest_token_is_that_of_the_logits() {
    let gpu = device::shared();
    let mut session = Session::new(&load(&gpu, &demo(), true), 160, Outputs::Last).unwrap();
    // More than one batch.
    let prompt: Vec<u32> = prompt().into_iter().cycle().take(100).collect();
    let mut sampler = greedy();
    for tokens in [&prompt[..], &prompt[..1], &prompt[..7]] {
        let before = session.position();
        let logits = pollster::block_on(session.forward(tokens, Outputs::Last)).unwrap();
        session.rewind(before);
        let likeliest = pollster::block_on(session.likeliest(tokens)).unwrap();
        assert_eq!(likeliest, sampler.sample(&logits).unwrap());
        assert_eq!(session.position(), before + tokens.len());
    }
}

#[test]
fn tokens_chosen_from_the_likeliest_are_those_chosen_from_all() {
    let model = load(&device::shared(), &demo(), false);
    let options = SamplingOptions::default().with_temperature(1.0).with_top_p(0.95).with_seed(4);
    let sampler = |top_k| Sampler::new(&options.with_top_k(top_k)).unwrap();
    let mut session = Session::new(&model, 64, Outputs::Last).unwrap();
    assert!(matches!(pollster::block_on(session.last_logits()), Err(ModelError::NoTokens)));
    // With the last, more are wanted than are looked for.
    for top_k in [1, 40, 200] {
        let [mut of_all, mut of_some] = [sampler(top_k), sampler(top_k)];
        let mut tokens = prompt();
        for _ in 0..12 {
            session.rewind(0);
            let logits = pollster::block_on(session.forward(&tokens, Outputs::Last)).unwrap();
            let expected = of_all.sample(&logits).unwrap();
            session.rewind(0);
            let top = pollster::block_on(session.top(&tokens, top_k)).unwrap();
            assert_eq!(pollster::block_on(session.last_logits()).unwrap(), logits);
            let some = top.as_ref().map(|top| (top.placed.iter().map(|p| (p.place, p.number)), top.bound));
            let chosen = some.and_then(|(some, bound)| of_some.sample_of(some, bound));
            assert!(chosen.is_some() || top_k == 200);
            assert_eq!(chosen.unwrap_or_else(|| of_some.sample(&logits).unwrap()), expected);
            tokens.push(expected);
        }
    }
    session.rewind(3);
    assert!(matches!(pollster::block_on(session.last_logits()), Err(ModelError::NoTokens)));
}

#[test]
fn logits_that_are_not_finite_are_an_error_however_the_next_token_is_chosen() {
    let gpu = device::shared();
    let folder = tempfile::tempdir().unwrap();
    let tied = config("LlamaForCausalLM", json!({"vocab_size": 1024, "tie_word_embeddings": true}));
    // Of one token, of all, and too large for F32.
    for (tensor, value, token) in [
        ("model.norm.weight", f32::NAN, None),
        ("model.norm.weight", f32::INFINITY, None),
        ("model.norm.weight", 3e38, None),
        ("model.embed_tokens.weight", f32::NAN, Some(700)),
        // These become scores and weights of attention, which must not lose them.
        ("model.layers.1.self_attn.q_proj.weight", f32::NAN, None),
        ("model.layers.1.self_attn.k_proj.weight", f32::NAN, None),
        ("model.layers.1.self_attn.k_proj.weight", f32::INFINITY, None),
        ("model.layers.1.self_attn.v_proj.weight", f32::NAN, None),
        ("model.layers.1.mlp.gate_proj.weight", f32::NAN, None),
    ] {
        random_model::write(folder.path(), &tied, Dtype::BF16);
        match token {
            None => random_model::fill(folder.path(), tensor, value),
            Some(token) => random_model::change(folder.path(), |tensors| {
                let row = &mut tensors.get_mut(tensor).unwrap().2[token * 160..][..160];
                row.chunks_exact_mut(2).for_each(|e| e.copy_from_slice(&half::bf16::NAN.to_le_bytes()));
            }),
        }
        let model = load(&gpu, folder.path(), false);
        let tokens: Vec<u32> = (0..70).collect();
        let mut session = Session::with_cache(&model, 100, Outputs::All, CacheType::F16).unwrap();
        let error = pollster::block_on(session.likeliest(&tokens)).unwrap_err();
        assert!(matches!(error, ModelError::NotFinite { token: 69, position: 69 }), "{tensor}: {error}");
        let mut session = Session::new(&model, 100, Outputs::All).unwrap();
        for (temperature, top_k) in [(0.0, 0), (1.0, 0), (1.0, 40)] {
            let options = SamplingOptions::default().with_temperature(temperature).with_top_k(top_k);
            session.rewind(0);
            let tokenizer = Tokenizer::open(&demo()).unwrap();
            let sampler = Sampler::new(&options).unwrap();
            let pieces = generate(&mut session, &tokenizer, &tokens, sampler, 5);
            let told = pollster::block_on(pieces.try_collect::<Vec<_>>());
            let Err(error) = told else { panic!("{tensor} {value} {temperature} {top_k}: {told:?}") };
            let expected = "the logits of token 69 at position 69 are not all finite numbers";
            assert!(error.to_string().starts_with(expected), "{tensor} {value} {top_k}: {error}");
        }
        session.rewind(0);
        let error = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap_err();
        assert!(matches!(error, ModelError::NotFinite { token: 0, position: 0 }), "{tensor}: {error}");
        assert_eq!(session.position(), 0);
    }
}

#[test]
fn a_stream_can_be_dropped_and_the_session_goes_on() {
    let gpu = device::shared();
    let tokenizer = Tokenizer::open(&demo()).unwrap();
    let mut session = Session::new(&load(&gpu, &demo(), false), 64, Outputs::Last).unwrap();
    let (whole, _) = text(&mut session, &prompt(), 30).unwrap();

    session.rewind(0);
    drop(generate(&mut session, &tokenizer, &prompt(), greedy(), 30));
    assert_eq!(session.position(), 0, "nothing is computed before it is asked for");

    let mut stream = Box::pin(generate(&mut session, &tokenizer, &prompt(), greedy(), 30));
    let mut first = String::new();
    let mut last = None;
    for _ in 0..10 {
        let piece = pollster::block_on(stream.next()).unwrap().unwrap();
        first += &piece.text;
        last = piece.token;
    }
    drop(stream);
    assert!(whole.starts_with(&first) && first.len() < whole.len());
    // The tenth token was given out, but not computed with yet: it is the prompt of what follows.
    assert_eq!(session.position(), prompt().len() + 9);
    let (rest, tokens) = text(&mut session, &[last.unwrap()], 20).unwrap();
    assert_eq!((first + &rest, tokens), (whole.clone(), 20));

    session.rewind(0);
    assert_eq!(text(&mut session, &prompt(), 30).unwrap().0, whole);
}

#[test]
fn a_stream_can_be_dropped_while_the_device_computes() {
    let gpu = device::shared();
    let tokenizer = Tokenizer::open(&demo()).unwrap();
    let mut session = Session::new(&load(&gpu, &demo(), false), 64, Outputs::Last).unwrap();
    let (whole, _) = text(&mut session, &prompt(), 10).unwrap();
    for _ in 0..5 {
        session.rewind(0);
        let mut stream = Box::pin(generate(&mut session, &tokenizer, &prompt(), greedy(), 10));
        let waker = std::task::Waker::noop();
        // Submits, and most likely is not done yet.
        let _ = stream.poll_next_unpin(&mut std::task::Context::from_waker(waker));
        drop(stream);
        session.rewind(0);
        assert_eq!(text(&mut session, &prompt(), 10).unwrap().0, whole);
    }
}

#[test]
fn what_is_computed_of_a_text_is_kept() {
    let gpu = device::shared();
    let tokenizer = Tokenizer::open(&demo()).unwrap();
    let mut session = Session::new(&load(&gpu, &demo(), false), 200, Outputs::Last).unwrap();
    let story = |session: &mut Session, tokens: &[u32]| -> Vec<Piece> {
        let pieces = complete(session, &tokenizer, tokens, greedy(), 20);
        pollster::block_on(pieces.try_collect()).unwrap()
    };
    let whole = story(&mut session, &prompt());
    let told: Vec<u32> = whole.iter().filter_map(|piece| piece.token).collect();
    let so_far = [prompt(), told].concat();
    assert_eq!(session.tokens(), &so_far[..so_far.len() - 1], "the last was not computed with");

    let longer = [&so_far[..], &prompt()].concat();
    let other = [&so_far[..9], &[7, 7, 7]].concat();
    for (text, kept) in [(&longer, so_far.len() - 1), (&other, 9), (&other, other.len() - 1)] {
        drop(complete(&mut session, &tokenizer, text, greedy(), 20));
        assert_eq!(session.tokens(), &text[..kept]);
        let after = story(&mut session, text);
        session.rewind(0);
        let anew = story(&mut session, text);
        let reused = |pieces: &[Piece]| pieces.last().unwrap().end.unwrap().reused_tokens;
        assert_eq!((reused(&after), reused(&anew)), (kept, 0));
        // But for that, they are the same.
        let told = |pieces: &[Piece]| -> Vec<_> {
            let end = |end: End| (end.reason, end.prompt_tokens, end.generated_tokens);
            pieces.iter().map(|piece| (piece.token, piece.text.clone(), piece.end.map(end))).collect()
        };
        assert_eq!(told(&anew), told(&after));
    }
    let nothing = pollster::block_on(complete(&mut session, &tokenizer, &[], greedy(), 1).try_collect());
    let nothing: Result<Vec<_>, GenerationError> = nothing;
    assert!(matches!(nothing, Err(GenerationError::Model(ModelError::NoTokens))));
}

#[test]
fn a_full_session_ends_a_reply_and_refuses_a_prompt() {
    let gpu = device::shared();
    let model = load(&gpu, &demo(), false);
    let prompt = prompt();
    let mut session = Session::new(&model, prompt.len() + 5, Outputs::Last).unwrap();
    // The token after the last position can still be chosen.
    assert_eq!(text(&mut session, &prompt, 30).unwrap().1, 6);
    assert_eq!(session.position(), session.context());

    let error = text(&mut session, &prompt, 30).unwrap_err();
    assert!(matches!(error, GenerationError::Model(ModelError::ContextFull { .. })), "{error}");
    let (needed, context) = (2 * prompt.len() + 5, prompt.len() + 5);
    assert_eq!(
        error.to_string(),
        format!(
            "the sequence needs {needed} positions, but the session has room for {context}; shorten the text, or \
             make the session with a longer context"
        )
    );
    session.rewind(0);
    assert_eq!(text(&mut session, &prompt, 3).unwrap().1, 3, "a refused prompt leaves no trace");
}

#[test]
fn the_last_piece_says_how_the_text_ended() {
    let gpu = device::shared();
    let model = load(&gpu, &demo(), false);
    let tokenizer = Tokenizer::open(&demo()).unwrap();
    let prompt = prompt();
    let mut session = Session::new(&model, 300, Outputs::Last).unwrap();
    let story = |session: &mut Session, sampler: Sampler, limits: Limits| -> Vec<Piece> {
        session.rewind(0);
        let pieces = generate(session, &tokenizer, &prompt, sampler, limits);
        let pieces: Vec<_> = pollster::block_on(pieces.try_collect()).unwrap();
        assert!(pieces.iter().rev().skip(1).all(|piece| piece.end.is_none()));
        pieces
    };
    let told = |pieces: &[Piece]| -> (String, StopReason) {
        let tokens = pieces.iter().filter(|piece| piece.token.is_some()).count();
        let End { reason, prompt_tokens, reused_tokens, generated_tokens, .. } =
            pieces.last().unwrap().end.unwrap();
        assert_eq!((prompt_tokens, reused_tokens, generated_tokens), (prompt.len(), 0, tokens));
        (pieces.iter().map(|piece| piece.text.as_str()).collect(), reason)
    };
    let (whole, reason) = told(&story(&mut session, greedy(), Limits::default()));
    assert_eq!(reason, StopReason::Eos);
    let (short, reason) = told(&story(&mut session, greedy(), 7.into()));
    assert!(whole.starts_with(&short) && reason == StopReason::Length, "{short}");

    // Across tokens, and given out as it comes but for what may be the beginning of it.
    let stop = vec!["no such thing".into(), "and he lived".into(), String::new()];
    let pieces = story(&mut session, greedy(), Limits::default().with_stop(stop));
    let (text, reason) = told(&pieces);
    assert_eq!((text.as_str(), reason), (" was called Bantam, ", StopReason::Stop));
    assert!(pieces.iter().filter(|piece| !piece.text.is_empty()).count() > 2);
    assert_eq!(StopReason::Stop.to_string(), "stop");

    let small = Session::new(&model, prompt.len() + 5, Outputs::Last);
    let (_, reason) = told(&story(&mut small.unwrap(), greedy(), Limits::default()));
    assert_eq!(reason, StopReason::Context);
    let most = "Length before context".len();
    let mut exact = Session::new(&model, prompt.len() + most - 1, Outputs::Last).unwrap();
    assert_eq!(told(&story(&mut exact, greedy(), most.into())).1, StopReason::Length);
}

#[test]
fn a_text_that_must_not_repeat_itself_does_not() {
    let model = load(&device::shared(), &demo(), false);
    let tokenizer = Tokenizer::open(&demo()).unwrap();
    let mut session = Session::new(&model, 64, Outputs::Last).unwrap();
    let prompt = prompt();
    let mut tokens = |repetition_penalty| -> Vec<u32> {
        session.rewind(0);
        let options = SamplingOptions::default().with_repetition_penalty(repetition_penalty);
        let sampler = Sampler::new(&options).unwrap();
        let pieces = generate(&mut session, &tokenizer, &prompt, sampler, 40);
        let pieces: Vec<Piece> = pollster::block_on(pieces.try_collect()).unwrap();
        prompt.iter().copied().chain(pieces.into_iter().filter_map(|piece| piece.token)).collect()
    };
    let repeats = |tokens: &[u32]| {
        let different: std::collections::HashSet<_> = tokens.iter().collect();
        tokens.len() - different.len()
    };
    let [usual, careful] = [1.0, 1e9].map(&mut tokens);
    assert!(repeats(&usual) > 0, "{usual:?}");
    assert_eq!(repeats(&careful), repeats(&prompt), "{careful:?}");
}

#[test]
fn tokens_that_cannot_be_computed_are_refused() {
    let gpu = device::shared();
    let mut session = Session::new(&load(&gpu, &demo(), false), 8, Outputs::Last).unwrap();
    for token in [1024, u32::MAX] {
        let error = pollster::block_on(session.forward(&[1, token], Outputs::Last)).unwrap_err();
        assert!(matches!(error, ModelError::NoSuchToken { .. }), "{error}");
        let message = format!(
            "token {token} is outside the vocabulary of 1024; check that the tokenizer belongs to this model"
        );
        assert_eq!(error.to_string(), message);
    }
    let error = pollster::block_on(session.forward(&[], Outputs::Last)).unwrap_err();
    assert!(matches!(error, ModelError::NoTokens), "{error}");
    assert_eq!(session.position(), 0);
    pollster::block_on(session.forward(&[1023], Outputs::Last)).unwrap();
}

#[test]
fn a_model_that_cannot_be_run_is_refused_by_name() {
    let gpu = device::shared();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let write = |config: &serde_json::Value| std::fs::write(&path, config.to_string()).unwrap();
    let plain = config("LlamaForCausalLM", json!({}));
    random_model::write(folder.path(), &plain, Dtype::BF16);
    try_load(&gpu, folder.path()).unwrap();

    write(&config("GPT2LMHeadModel", json!({})));
    let error = try_load(&gpu, folder.path()).unwrap_err();
    assert!(matches!(error, ModelError::UnsupportedArchitecture { .. }), "{error}");
    assert!(error.to_string().ends_with(
        "config.json: architecture GPT2LMHeadModel is not supported; supported are LlamaForCausalLM, \
         MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM"
    ));

    write(&config("LlamaForCausalLM", json!({"intermediate_size": 180})));
    let error = try_load(&gpu, folder.path()).unwrap_err();
    assert!(matches!(error, ModelError::WrongTensor { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "tensor model.layers.0.mlp.gate_proj.weight: shape [172, 80], but the configuration asks for \
         shape [180, 80]"
    );

    write(&config("LlamaForCausalLM", json!({"num_hidden_layers": 4})));
    let error = try_load(&gpu, folder.path()).unwrap_err();
    assert!(matches!(error, ModelError::Archive(_)), "{error}");
    assert!(error.to_string().contains("model.layers.3.input_layernorm.weight"), "{error}");
    assert_eq!(gpu.memory().used(), 0, "a failed load gives everything back");

    let missing = folder.path().join("nonesuch");
    assert!(try_load(&gpu, &missing).unwrap_err().to_string().contains("nonesuch"));
}

#[test]
fn a_session_keeps_its_model() {
    let gpu = device::shared();
    let model = load(&gpu, &demo(), false);
    let mut session = Session::new(&model, 64, Outputs::Last).unwrap();
    assert!(Arc::ptr_eq(session.model(), &model));
    drop((model, gpu));
    assert_eq!(text(&mut session, &prompt(), 5).unwrap().1, 5);
}
