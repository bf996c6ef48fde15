//! Models that tests run, and their logits.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam::archive::{ModelFiles, Options, compress};
use bantam::gpu::Gpu;
use bantam::model::{Layout, LoadOptions, Model, Outputs, Session};
use bantam::text::Tokenizer;

#[path = "../left_out/mod.rs"]
pub mod left_out;

/// The model that comes with the program.
pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo")
}

/// A larger model, where it was fetched.
pub fn optional(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BANTAM_TEST_MODELS").map(|models| PathBuf::from(models).join(name));
    let folder = folder.filter(|folder| folder.join("model.safetensors").exists());
    if folder.is_none() {
        let why =
            "it is not in the folder that BANTAM_TEST_MODELS names; scripts/fetch_test_models.py builds it";
        left_out::report(&format!("tests of {name}"), why);
    }
    folder
}

/// The compressed form of a model folder, in a folder that lasts as long as the first result.
pub fn compressed(folder: &Path) -> (tempfile::TempDir, PathBuf) {
    compressed_with(folder, &Options::default())
}

/// The same, as `options` say.
pub fn compressed_with(folder: &Path, options: &Options) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let output = temporary.path().join("compressed");
    compress(folder, Some(&output), options, &()).unwrap();
    (temporary, output)
}

/// With dense tiles, or from uncompressed weights.
pub fn load(gpu: &Gpu, folder: &Path, raw: bool) -> Arc<Model> {
    load_with(gpu, folder, &LoadOptions { raw, layout: Layout::Dense, ..LoadOptions::default() })
}

/// In the fast layout.
pub fn load_fast(gpu: &Gpu, folder: &Path) -> Arc<Model> {
    load_with(gpu, folder, &LoadOptions { layout: Layout::Fast, ..LoadOptions::default() })
}

pub fn load_with(gpu: &Gpu, folder: &Path, options: &LoadOptions) -> Arc<Model> {
    let files = ModelFiles::open(folder).unwrap();
    Arc::new(pollster::block_on(Model::load(gpu, &files, options, &())).unwrap())
}

/// Logits of each of `tokens`, computed at once.
pub fn all_logits(model: &Arc<Model>, tokens: &[u32]) -> Vec<f32> {
    let mut session = Session::new(model, tokens.len(), Outputs::All).unwrap();
    pollster::block_on(session.forward(tokens, Outputs::All)).unwrap()
}

/// Logits of each of `tokens`, computed one after the other.
pub fn stepwise_logits(model: &Arc<Model>, tokens: &[u32]) -> Vec<f32> {
    let mut session = Session::new(model, tokens.len(), Outputs::Last).unwrap();
    tokens.iter().flat_map(|&t| pollster::block_on(session.forward(&[t], Outputs::Last)).unwrap()).collect()
}

/// At least `count` tokens of text, cut to `count`.
pub fn prompt(folder: &Path, text: &str, count: usize) -> Vec<u32> {
    let tokenizer = Tokenizer::open(folder).unwrap();
    let mut tokens = tokenizer.encode(text, true).unwrap();
    while tokens.len() < count {
        tokens.extend(tokenizer.encode(" Then it began to rain, and they all went home.", false).unwrap());
    }
    tokens.truncate(count);
    tokens
}

/// The texts that prompts are cut from.
pub const TEXTS: [&str; 3] = ["The little rooster", "Once upon a time, there was a goat", "It was raining"];

/// Asserts that two sets of logits are the same bits, and numbers.
#[track_caller]
pub fn assert_same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let different = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(different.map(|i| (i, a[i], b[i])), None, "{what}");
    assert!(a.iter().all(|l| l.is_finite()), "{what}");
    assert!(a.iter().any(|&l| l != a[0]), "{what}: all the same");
}
