//! `bantam score` as a user calls it.

use std::path::Path;
use std::process::{Command, Output};

use bantam::model::{Model, Outputs, Session};
use bantam::tensor::Dtype;
use bantam::text::Tokenizer;
use serde_json::{Value, json};

use crate::device;
use crate::models;
use crate::random_model;

const TEXT: &str = "Once upon a time, there was a goat who lived on a farm near a river.";

fn bantam(command: &str, model: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bantam")).arg(command).arg(model).args(args).output().unwrap()
}

/// What `bantam score` says of a text, as JSON.
#[track_caller]
fn score(model: &Path, text: &str, args: &[&str]) -> Value {
    let output = score_output(model, text, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn score_output(model: &Path, text: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    std::fs::write(&file, text).unwrap();
    bantam("score", model, &[&[file.to_str().unwrap()], args].concat())
}

/// What is on stderr of a command that must fail.
#[track_caller]
fn failure(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "{output:?}");
    error
}

/// Sum of the negative log-likelihoods of `window` after its first `known` tokens.
fn nll(model: &std::sync::Arc<Model>, window: &[u32], known: usize) -> f64 {
    let mut session = Session::new(model, window.len(), Outputs::All).unwrap();
    let logits = pollster::block_on(session.forward(window, Outputs::All)).unwrap();
    let of = |(logits, &token): (&[f32], &u32)| {
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        sum.ln() - f64::from(logits[token as usize])
    };
    logits.chunks(model.config().vocab).zip(&window[1..]).skip(known - 1).map(of).sum()
}

#[test]
fn a_text_is_scored_with_and_without_the_token_that_begins_it_and_in_windows() {
    let folder = models::demo();
    let model = models::load(&device::shared(), &folder, true);
    let tokens = Tokenizer::open(&folder).unwrap().encode(TEXT, false).unwrap();
    let check = |args: &[&str], bos: bool, sum: f64, count: usize| {
        let said = score(&folder, TEXT, &[args, &["--raw"]].concat());
        assert_eq!((said["tokens"].as_u64(), said["bos"].as_bool()), (Some(count as u64), Some(bos)));
        let mean = sum / count as f64;
        assert!((said["nll"].as_f64().unwrap() - mean).abs() < 1e-5, "{args:?}: {said}, not {mean}");
        assert!((said["perplexity"].as_f64().unwrap() - mean.exp()).abs() < 1e-3 * mean.exp(), "{said}");
    };
    check(&[], false, nll(&model, &tokens, 1), tokens.len() - 1);
    let whole = [&[0], &tokens[..]].concat();
    check(&["--bos"], true, nll(&model, &whole, 1), tokens.len());
    // Eight positions: windows of eight tokens that share one, or of seven behind the first.
    let mut sum = 0.0;
    for start in (0..tokens.len() - 1).step_by(7) {
        sum += nll(&model, &tokens[start..(start + 8).min(tokens.len())], 1);
    }
    check(&["--context", "8"], false, sum, tokens.len() - 1);
    let mut sum = 0.0;
    for start in (0..tokens.len() - 1).step_by(6) {
        let window = [&[0], &tokens[start..(start + 7).min(tokens.len())]].concat();
        sum += nll(&model, &window, if start == 0 { 1 } else { 2 });
    }
    check(&["--context", "8", "--bos"], true, sum, tokens.len());
}

#[test]
fn that_a_text_is_scored_without_a_beginning_is_said() {
    let folder = models::demo();
    let remark = |args: &[&str]| {
        let output = score_output(&folder, TEXT, args);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(remark(&[]).contains("without the beginning-of-text token <s>; --bos"), "{}", remark(&[]));
    assert!(!remark(&["--bos"]).contains("--bos"));
    // Shorter than that cannot be scored.
    assert!(failure(&score_output(&folder, "", &["--bos"])).contains("at least one token"));
    assert!(failure(&score_output(&folder, "a", &[])).contains("at least two tokens"));
    assert_eq!(score(&folder, "a", &["--bos"])["tokens"], 1);
    let error = failure(&score_output(&folder, TEXT, &["--bos", "--context", "2"]));
    assert!(error.contains("a context of at least 3"), "{error}");
}

/// A random model with the demo's tokenizer.
fn random(changes: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = random_model::config("LlamaForCausalLM", changes);
    random_model::write(folder.path(), &config, Dtype::BF16);
    let tokenizer = models::demo().join("tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    folder
}

#[test]
fn a_beginning_is_found_wherever_it_is_named_or_refused() {
    let folder = random(json!({"vocab_size": 1024}));
    let error = failure(&score_output(folder.path(), TEXT, &["--bos"]));
    assert!(error.contains("the model names no beginning-of-text token"), "{error}");
    let map = json!({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"});
    std::fs::write(folder.path().join("special_tokens_map.json"), map.to_string()).unwrap();
    assert_eq!(score(folder.path(), TEXT, &["--bos"])["bos"], true);
}

#[test]
fn a_token_that_the_model_does_not_have_is_refused() {
    let folder = random(json!({"vocab_size": 300}));
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    let ends_with = |id: u32| {
        let text = format!("a{}", tokenizer.decode(&[id]).unwrap());
        (tokenizer.encode(&text, false).unwrap() == [tokenizer.id("a").unwrap(), id]).then_some((text, id))
    };
    // Only the last: nothing is computed with it.
    let (text, id) = (300..1024).find_map(ends_with).unwrap();
    let error = failure(&score_output(folder.path(), &text, &[]));
    assert!(error.contains(&format!("token {id} is outside the vocabulary of 300")), "{error}");
    let error = failure(&bantam("run", folder.path(), &["-p", &text, "--json"]));
    assert!(error.contains("outside the vocabulary of 300"), "{error}");
}

#[test]
fn a_model_that_gives_no_numbers_is_an_error_in_score_and_run() {
    for value in [f32::NAN, 3e38] {
        let folder = random(json!({"vocab_size": 1024}));
        random_model::fill(folder.path(), "model.norm.weight", value);
        let error = failure(&score_output(folder.path(), TEXT, &["--json"]));
        assert!(error.contains("at position 0 are not all finite numbers"), "{error}");
        for args in [&["-p", TEXT, "--json"][..], &["-p", TEXT, "--json", "--temperature", "1"]] {
            let error = failure(&bantam("run", folder.path(), args));
            assert!(error.contains("are not all finite numbers"), "{error}");
        }
    }
    // Finite, and no likelihood that a number could hold.
    let folder = random(json!({"vocab_size": 1024}));
    random_model::fill(folder.path(), "model.norm.weight", 1e30);
    let error = failure(&score_output(folder.path(), TEXT, &["--json"]));
    assert!(error.contains("nats a token is not a usable score"), "{error}");
}
