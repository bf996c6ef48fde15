//! Within a budget, layers that do not fit are streamed: the same bits come out, never more memory is
//! taken than the budget allows, and what goes wrong on the way is told.

mod budgets;
mod decoded;
mod faults;
mod moved;
mod sessions;

use std::path::Path;

use bantam::archive::ModelFiles;
use bantam::gpu::Gpu;
use bantam::model::{Layout, LoadOptions, Model, ModelError, Outputs, Session};
use bantam::stream::{Plan, StreamError};
use bantam::tensor::Dtype;
use serde_json::json;

use crate::models::{compressed, load_with};
use crate::{device, random_model};

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
