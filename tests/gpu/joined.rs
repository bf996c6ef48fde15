//! Matrices that are joined are multiplied with in fewer dispatches, and give the same bits as one by one:
//! in every form, with any number of invocations, whatever can be joined and whatever cannot.

use std::path::Path;

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, Invocations, KernelChoices};
use bantam::model::{Layout, LoadOptions, Model, ModelConfig, Outputs, Session};
use bantam::tensor::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::device;
use crate::models::{
    self, all_logits, assert_same_bits, compressed, load, load_fast, load_with, stepwise_logits,
};
use crate::random_model;

/// As many tokens as are more than one group of sixteen.
const TOKENS: usize = 21;

/// Dispatches that a layer takes one by one, and where all can be joined: keys and values go with queries, gate
/// with up, and what joins these two needs none of its own.
const APART: usize = 12;
const JOINED: usize = 8;

fn with_joins(gpu: &Gpu, joins: bool) -> Gpu {
    gpu.with_choices(KernelChoices { joins, joins_tiles: joins, ..*gpu.choices() })
}

/// The dispatches that each layer takes on average.
fn dispatches_a_layer(session: &Session) -> f64 {
    (session.dispatches_a_token() - 4) as f64 / session.model().config().layers as f64
}

/// Checks that the model at `folder` gives the same logits with joined matrices and with single ones; gives the
/// dispatches of a layer from uncompressed weights, dense tiles and the fast layout.
fn check(gpu: &Gpu, folder: &Path) -> [f64; 3] {
    let (_temporary, small) = compressed(folder);
    let load = |gpu: &Gpu, form: usize| match form {
        0 => load(gpu, folder, true),
        1 => load(gpu, &small, false),
        _ => load_fast(gpu, &small),
    };
    let mut wanted = None;
    [0, 1, 2].map(|form| {
        let [apart, joined] = [false, true].map(|joins| {
            let model = load(&with_joins(gpu, joins), form);
            let vocab = model.config().vocab as u32;
            let tokens: Vec<u32> = (0..TOKENS as u32).map(|i| i * i * 31 % vocab).collect();
            let logits = (all_logits(&model, &tokens), stepwise_logits(&model, &tokens[..4]));
            let wanted = wanted.get_or_insert_with(|| logits.clone());
            let what = format!("form {form}, joined: {joins}");
            assert_same_bits(&wanted.0, &logits.0, &format!("{what}, at once"));
            assert_same_bits(&wanted.1, &logits.1, &format!("{what}, one by one"));
            let session = Session::new(&model, TOKENS, Outputs::Last).unwrap();
            (dispatches_a_layer(&session), model.weight_bytes())
        });
        assert_eq!(apart.0, APART as f64, "form {form}");
        // Tables that lie side by side begin at multiples of 256 bytes in the fast layout.
        let room = if form == 2 { 5.0 * 256.0 * 32.0 } else { 0.0 };
        // And textures have whole rows of 8 KiB, if they have more than one.
        let room = room + if gpu.choices().textures { 2.0 * 8192.0 * 32.0 } else { 0.0 };
        assert!(joined.1 as f64 <= apart.1 as f64 + room, "form {form}: {joined:?}, {apart:?}");
        joined.0
    })
}

#[test]
fn the_demo_model_is_joined_and_gives_the_same_logits() {
    let [raw, dense, fast] = check(&device::shared(), &models::demo());
    assert_eq!((raw, fast), (JOINED as f64, JOINED as f64));
    // Some of its tensors are split in another way than their neighbours.
    assert!(dense < APART as f64 && dense >= JOINED as f64, "{dense}");
}

/// Rows of all matrices end within a row block, queries, keys and values have biases, and four invocations share
/// a row, as they do on a GPU.
#[test]
fn shared_rows_and_biases_give_the_same_logits() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = json!({ "hidden_size": 800, "intermediate_size": 140, "num_hidden_layers": 1 });
    let config = random_model::config("Qwen2ForCausalLM", sizes);
    random_model::write(folder.path(), &config, Dtype::BF16);
    let gpu = device::shared().with_choices(KernelChoices::with_invocations(Invocations::FOUR_A_ROW));
    let [raw, dense, _] = check(&gpu, folder.path());
    assert!(raw == JOINED as f64 && dense >= JOINED as f64);
}

#[test]
fn gates_with_biases_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        random_model::config("LlamaForCausalLM", json!({ "mlp_bias": true, "attention_bias": true }));
    random_model::write(folder.path(), &config, Dtype::F32);
    let [raw, ..] = check(&device::shared(), folder.path());
    assert_eq!(raw, (APART - 2) as f64);
}

/// Keys of another type than queries and values, and gates of another than what they are for.
#[test]
fn matrices_of_different_types_are_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let config = random_model::config("LlamaForCausalLM", json!({ "num_hidden_layers": 2 }));
    random_model::write(folder.path(), &config, Dtype::BF16);
    widen(folder.path(), &["k_proj.weight", "gate_proj.weight"]);
    let [raw, ..] = check(&device::shared(), folder.path());
    // Queries and values still go together.
    assert_eq!(raw, (APART - 1) as f64);
}

/// `sizes`, and 256 columns.
fn larger(mut sizes: Value) -> Value {
    for (name, size) in [
        ("hidden_size", 256),
        ("intermediate_size", 512),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
    ] {
        sizes[name] = json!(size);
    }
    sizes
}

/// Where they do not fit a binding together, matrices are multiplied with one by one.
#[test]
fn matrices_that_do_not_fit_a_binding_together_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = json!({ "num_hidden_layers": 1 });
    let config = random_model::config("LlamaForCausalLM", larger(sizes));
    random_model::write(folder.path(), &config, Dtype::BF16);
    // Each of gate and up has 256 KiB uncompressed; queries, keys and values have less together.
    let gpu = device::gpu_with_bindings_of(300 << 10);
    let [raw, ..] = check(&gpu, folder.path());
    assert_eq!(raw, (APART - 2) as f64);
}

/// Where matrices fit a binding together, but not once they are widened for a batch, that is done some rows at a time:
/// of queries, keys and values, and of gates with what they are for.
#[test]
fn matrices_that_are_widened_piece_by_piece_give_the_same_logits() {
    let folder = tempfile::tempdir().unwrap();
    let config = random_model::config("LlamaForCausalLM", larger(json!({ "num_hidden_layers": 1 })));
    random_model::write(folder.path(), &config, Dtype::BF16);
    let (_temporary, small) = compressed(folder.path());
    let tokens: Vec<u32> = (0..TOKENS as u32).map(|i| i * i * 31 % 300).collect();
    let wanted = all_logits(&load(&device::shared(), folder.path(), true), &tokens);
    // Uncompressed, the former have 256 KiB together, and the latter 512.
    for (binding, dispatches) in [(200 << 10, APART - 2), (400 << 10, JOINED)] {
        let gpu = with_joins(&device::gpu_with_bindings_of(binding), true);
        let model = load(&gpu, &small, false);
        // A buffer, and where weights are textures, a texture beside it.
        let most = if gpu.choices().textures { 2 * binding } else { binding };
        assert!((1..=most).contains(&model.wide_room_bytes()));
        assert_same_bits(&wanted, &all_logits(&model, &tokens), &format!("bindings of {binding}"));
        let session = Session::new(&model, TOKENS, Outputs::Last).unwrap();
        assert_eq!(dispatches_a_layer(&session), dispatches as f64);
    }
}

/// Stages in slots are joined too, and plans count what joining takes: every budget is kept.
#[test]
fn within_any_budget_the_same_bits_come_out_and_no_more_is_taken() {
    let plain = tempfile::tempdir().unwrap();
    let sizes = json!({ "num_hidden_layers": 6 });
    let config = random_model::config("Qwen2ForCausalLM", larger(sizes));
    random_model::write(plain.path(), &config, Dtype::BF16);
    let (_temporary, small) = compressed(plain.path());
    let tokens: Vec<u32> = (0..TOKENS as u32).map(|i| i * i * 31 % 300).collect();
    let wanted = all_logits(&load(&device::shared(), plain.path(), true), &tokens);
    let files = ModelFiles::open(&small).unwrap();
    let mut streamed = 0;
    for layout in [Layout::Dense, Layout::Fast] {
        let options = |budget| {
            LoadOptions::default().with_layout(layout).with_budget(Some(budget)).with_working_set(Some(
                Session::device_bytes(&ModelConfig::open(&small).unwrap(), TOKENS, Outputs::All),
            ))
        };
        let plan = |budget| {
            let gpu = with_joins(&device::shared(), true);
            Model::plan(&gpu, &files, &options(budget)).unwrap().unwrap()
        };
        let whole = plan(u64::MAX);
        for budget in [whole.total, whole.total - 1, whole.total.midpoint(whole.minimum), whole.minimum] {
            // Of its own, for its count of memory.
            let gpu = with_joins(&device::shared(), true);
            let model = load_with(&gpu, &small, &options(budget));
            let plan = model.residency().unwrap();
            streamed += plan.streamed.len();
            let what = format!("{layout:?}, {} of {} streamed", plan.streamed.len(), plan.stages.len());
            let mut session = Session::new(&model, TOKENS, Outputs::All).unwrap();
            let logits = pollster::block_on(session.forward(&tokens, Outputs::All)).unwrap();
            assert_same_bits(&wanted, &logits, &what);
            session.rewind(0);
            let vocab = model.config().vocab;
            for (token, wanted) in tokens.iter().zip(wanted.chunks(vocab)).take(3) {
                let logits = pollster::block_on(session.forward(&[*token], Outputs::Last)).unwrap();
                assert_same_bits(wanted, &logits, &what);
            }
            assert!(plan.total <= budget && gpu.memory().peak() <= budget, "{what}");
            assert!(session.dispatches_a_token() < APART * 6 + 4, "{what}: nothing is joined");
        }
    }
    assert!(streamed > 0);
}

/// Makes F32 of the BF16 tensors whose names end so.
fn widen(folder: &Path, ends: &[&str]) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let (mut dtype, mut data) = (tensor.dtype(), tensor.data().to_vec());
            if ends.iter().any(|end| name.ends_with(end)) {
                let widened = data.chunks(2).flat_map(|half| [0, 0, half[0], half[1]]);
                (dtype, data) = (Dtype::F32, widened.collect());
            }
            (name, dtype, tensor.shape().to_vec(), data)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &path).unwrap();
}
