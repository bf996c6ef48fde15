//! Compressed weights give the logits of raw ones, bit for bit, however the tokens are batched.

use std::path::Path;

use bantam::archive::{Options, decompress};
use bantam::codec::Lossy;
use bantam::gpu::Gpu;
use bantam::model::{Outputs, Session};
use bantam::tensor::Dtype;
use serde_json::{Value, json};

use crate::device;
use crate::models::{
    self, TEXTS, all_logits, assert_same_bits, compressed, compressed_with, load, load_fast, load_tiered,
    prompt, stepwise_logits,
};
use crate::random_model;

/// Around the sixteen tokens that a workgroup multiplies and the sixty-four of a batch.
const LENGTHS: [usize; 9] = [1, 2, 15, 16, 17, 63, 64, 65, 130];

/// The model at `folder` gives the same logits from each of its forms, and its compressed weights
/// take less than `most` of the device memory that raw ones do.
fn check_forms(folder: &Path, texts: &[&str], lengths: &[usize], steps: usize, most: f64) {
    let gpu = device::shared();
    let (_temporary, small) = compressed(folder);
    let [plain, tiled, restored] =
        [(folder, false), (&small, false), (&small, true)].map(|(folder, raw)| load(&gpu, folder, raw));
    let (fast, tiered) = (load_fast(&gpu, &small), load_tiered(&gpu, &small));
    let share = tiled.weight_bytes() as f64 / plain.weight_bytes() as f64;
    assert!(share < most, "{share}");
    assert!(fast.weight_bytes() < plain.weight_bytes());
    assert_eq!(restored.weight_bytes(), plain.weight_bytes());
    for (i, text) in texts.iter().enumerate() {
        // The first text at every length, and the others at some.
        for &length in lengths.iter().step_by(if i == 0 { 1 } else { 4 }) {
            let tokens = prompt(folder, text, length);
            let wanted = all_logits(&plain, &tokens);
            assert_eq!(wanted.len(), length * plain.config().vocab);
            let what = format!("{text:?}, {length} tokens at once");
            for model in [&tiled, &fast, &tiered, &restored] {
                assert_same_bits(&wanted, &all_logits(model, &tokens), &what);
            }
        }
    }
    let tokens = prompt(folder, texts[0], steps);
    let wanted = all_logits(&plain, &tokens);
    for model in [&plain, &tiled, &fast, &tiered, &restored] {
        assert_same_bits(&wanted, &stepwise_logits(model, &tokens), &format!("{steps} tokens one by one"));
    }
}

#[test]
fn the_demo_model_gives_the_same_logits_compressed_and_raw() {
    // Each of its small matrices comes with a table of 8 KiB.
    check_forms(&models::demo(), &TEXTS, &LENGTHS, 20, 0.97);
}

#[test]
fn models_of_every_type_give_the_same_logits_compressed_and_raw() {
    let sizes = json!({
        "hidden_size": 192,
        "intermediate_size": 400,
        "vocab_size": 600,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
    });
    let config = random_model::config("Qwen2ForCausalLM", sizes);
    // An F32 and an F16 may hold what a BF16 held once.
    let types = [
        (Dtype::BF16, 0, 0.9),
        (Dtype::F32, 0, 0.95),
        (Dtype::F32, 16, 0.5),
        (Dtype::F16, 0, 0.95),
        (Dtype::F16, 3, 0.9),
    ];
    for (dtype, clean_bits, most) in types {
        let folder = tempfile::tempdir().unwrap();
        random_model::write_clean(folder.path(), &config, dtype, clean_bits);
        check_random(folder.path(), &config, most, &format!("{dtype}, {clean_bits} clean bits"));
    }
}

/// As [`check_forms`], for a model that has no tokenizer.
fn check_random(folder: &Path, config: &Value, most: f64, what: &str) {
    let gpu = device::shared();
    let (_temporary, small) = compressed(folder);
    let [plain, tiled, restored] =
        [(folder, false), (&small, false), (&small, true)].map(|(folder, raw)| load(&gpu, folder, raw));
    let share = tiled.weight_bytes() as f64 / plain.weight_bytes() as f64;
    assert!(share < most, "{what}: {share}");
    let vocab = random_model::size(config, "vocab_size") as u32;
    let tokens: Vec<u32> = (0..70).map(|i| i * i * 31 % vocab).collect();
    let wanted = all_logits(&plain, &tokens);
    assert!(wanted.iter().all(|logit| logit.is_finite()), "{what}");
    assert_same_bits(&wanted, &all_logits(&tiled, &tokens), what);
    assert_same_bits(&wanted, &all_logits(&restored, &tokens), what);
    let (fast, tiered) = (load_fast(&gpu, &small), load_tiered(&gpu, &small));
    assert_eq!(tiered.weight_bytes() != tiled.weight_bytes(), what.starts_with("BF16"), "{what}");
    assert_same_bits(&wanted, &all_logits(&tiered, &tokens), what);
    // Only BF16 has a fast layout.
    assert_eq!(fast.weight_bytes() != tiled.weight_bytes(), what.starts_with("BF16"), "{what}");
    assert_same_bits(&wanted, &all_logits(&fast, &tokens), what);
    let few = &tokens[..3];
    for model in [&tiled, &fast, &tiered] {
        assert_same_bits(&stepwise_logits(&plain, few), &stepwise_logits(model, few), what);
    }
}

#[test]
fn smollm2_gives_the_same_logits_compressed_and_raw() {
    if let Some(folder) = models::optional("smollm2") {
        check_forms(&folder, &TEXTS[..1], &[17, 65], 3, 0.69);
    }
    if let Some(folder) = models::optional("smollm2/f16") {
        check_forms(&folder, &TEXTS[..1], &[17], 2, 0.85);
    }
}

#[test]
fn logits_do_not_depend_on_how_a_prompt_is_cut() {
    let gpu = device::shared();
    let (_temporary, small) = compressed(&models::demo());
    let tokens = prompt(&small, TEXTS[0], 130);
    for raw in [false, true] {
        let model = load(&gpu, &small, raw);
        let wanted = all_logits(&model, &tokens);
        for cut in [1, 7, 16, 33, 64, 100] {
            let mut session = Session::new(&model, tokens.len(), Outputs::All).unwrap();
            let mut logits = Vec::new();
            for piece in tokens.chunks(cut) {
                logits.extend(pollster::block_on(session.forward(piece, Outputs::All)).unwrap());
            }
            assert_same_bits(&wanted, &logits, &format!("pieces of {cut}, raw: {raw}"));
        }
    }
}

#[test]
fn logits_do_not_depend_on_how_many_parts_a_matrix_is_kept_in() {
    let (_temporary, small) = compressed(&models::demo());
    let tokens = prompt(&small, TEXTS[1], 100);
    let last_logits = |gpu: &Gpu, raw| {
        let mut session = Session::new(&load(gpu, &small, raw), tokens.len(), Outputs::Last).unwrap();
        pollster::block_on(session.forward(&tokens, Outputs::Last)).unwrap()
    };
    let wanted = last_logits(&device::shared(), true);
    // The embedding takes 262 144 bytes raw and more than half of that compressed.
    let gpu = device::gpu_with_bindings_of(100_000);
    for raw in [false, true] {
        assert_same_bits(&wanted, &last_logits(&gpu, raw), &format!("in parts, raw: {raw}"));
    }
    for (model, what) in [(load_fast(&gpu, &small), "fast"), (load_tiered(&gpu, &small), "tiered")] {
        let mut session = Session::new(&model, tokens.len(), Outputs::Last).unwrap();
        let logits = pollster::block_on(session.forward(&tokens, Outputs::Last)).unwrap();
        assert_same_bits(&wanted, &logits, &format!("in parts, {what}"));
    }
}

#[test]
fn the_last_logits_are_the_last_of_all() {
    let gpu = device::shared();
    let model = load(&gpu, &models::demo(), false);
    let vocab = model.config().vocab;
    let tokens = prompt(&models::demo(), TEXTS[1], 130);
    for length in LENGTHS {
        let all = all_logits(&model, &tokens[..length]);
        let mut session = Session::new(&model, length, Outputs::Last).unwrap();
        let last = pollster::block_on(session.forward(&tokens[..length], Outputs::Last)).unwrap();
        assert_same_bits(&all[(length - 1) * vocab..], &last, &format!("{length} tokens"));
    }
}

#[test]
fn a_rewound_session_computes_what_a_new_one_does() {
    let gpu = device::shared();
    let model = load(&gpu, &models::demo(), false);
    let tokens = prompt(&models::demo(), TEXTS[2], 80);
    let other = prompt(&models::demo(), TEXTS[1], 80);
    let wanted = all_logits(&model, &tokens);
    let mut session = Session::new(&model, 80, Outputs::All).unwrap();
    let mut forward = |position, tokens| {
        session.rewind(position);
        pollster::block_on(session.forward(tokens, Outputs::All)).unwrap()
    };
    forward(0, &other);
    assert_same_bits(&wanted, &forward(0, &tokens), "from the start");
    let from_30 = &wanted[30 * model.config().vocab..];
    assert_same_bits(from_30, &forward(30, &tokens[30..]), "from the middle");
}

#[test]
fn decoding_makes_no_buffers_and_everything_is_given_back() {
    let gpu = device::shared();
    let (_temporary, small) = compressed(&models::demo());
    let model = load(&gpu, &small, false);
    let weights = gpu.memory().used();
    assert!(weights >= model.weight_bytes());
    let mut session = Session::new(&model, 200, Outputs::All).unwrap();
    let (used, allocations) = (gpu.memory().used(), gpu.memory().allocations());
    let tokens = prompt(&small, TEXTS[0], 100);
    for tokens in [&tokens[..], &tokens[..1], &tokens[..2], &tokens[..1]] {
        for outputs in [Outputs::All, Outputs::Last] {
            session.rewind(90);
            pollster::block_on(session.forward(tokens, outputs)).unwrap();
        }
    }
    assert_eq!((gpu.memory().used(), gpu.memory().allocations()), (used, allocations));
    drop(session);
    assert_eq!(gpu.memory().used(), weights);
    drop(model);
    assert_eq!(gpu.memory().used(), 0);
}

#[test]
fn a_rounded_model_gives_the_logits_of_what_it_is_decoded_to() {
    let gpu = device::shared();
    let sizes = json!({
        "hidden_size": 192,
        "intermediate_size": 400,
        "vocab_size": 600,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
    });
    let config = random_model::config("Qwen2ForCausalLM", sizes);
    for (dtype, bits, block) in [(Dtype::BF16, 3, 512), (Dtype::F16, 4, 64), (Dtype::F32, 2, 32)] {
        let folder = tempfile::tempdir().unwrap();
        random_model::write(folder.path(), &config, dtype);
        let lossy = Some(Lossy::new(bits, block).unwrap());
        let (temporary, small) = compressed_with(folder.path(), &Options::DEFAULT.with_lossy(lossy));
        let restored = temporary.path().join("restored");
        decompress(&small, Some(&restored), &Options::default(), &()).unwrap();
        let tokens: Vec<u32> = (0..70).map(|i| i * i * 31 % 600).collect();
        let logits = |folder: &Path, raw| all_logits(&load(&gpu, folder, raw), &tokens);
        let wanted = logits(&restored, false);
        assert!(wanted != logits(folder.path(), false), "{dtype}: nothing was rounded");
        assert_same_bits(&wanted, &logits(&small, false), &format!("{dtype} in tiles"));
        assert_same_bits(&wanted, &logits(&small, true), &format!("{dtype} decoded"));
        let [tiled, raw] = [(&small, false), (&restored, false)].map(|(folder, raw)| load(&gpu, folder, raw));
        assert_same_bits(&wanted, &stepwise_logits(&tiled, &tokens), &format!("{dtype}, one by one"));
        assert_same_bits(&wanted, &all_logits(&load_fast(&gpu, &small), &tokens), "there is no fast layout");
        assert!(tiled.weight_bytes() < raw.weight_bytes() * 3 / 4, "{dtype}");
    }
}
