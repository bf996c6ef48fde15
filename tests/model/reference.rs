//! The executor agrees with other implementations: with candle, and with a plain one in double
//! precision that shares no code with it.

use std::path::Path;

use bantam::tensor::Dtype;
use serde_json::{Value, json};

use crate::candle::Candle;
use crate::data;
use crate::device;
use crate::models::{self, TEXTS, all_logits, compressed, load, prompt};
use crate::oracle::Oracle;
use crate::random_model::{self, config};

/// Largest difference between two sets of logits.
fn difference(a: &[f32], b: impl ExactSizeIterator<Item = f64>) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().all(|l| l.is_finite()));
    a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max)
}

/// Mean negative log-likelihood of `tokens` after the first, by their logits.
fn mean_nll(logits: &[f32], tokens: &[u32]) -> f64 {
    let nll = |(logits, &token): (&[f32], &u32)| {
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        sum.ln() - f64::from(logits[token as usize])
    };
    let vocab = logits.len() / tokens.len();
    logits.chunks(vocab).zip(&tokens[1..]).map(nll).sum::<f64>() / (tokens.len() - 1) as f64
}

/// Compares a trained Llama model with candle on the text's first `count` tokens.
fn check_trained(folder: &Path, texts: &[&str], count: usize, tolerance: f64) {
    let gpu = device::shared();
    let (_temporary, small) = compressed(folder);
    let model = load(&gpu, &small, false);
    let reference = Candle::open(folder);
    let mut most = 0f64;
    for text in texts {
        let tokens = prompt(folder, text, count);
        let ours = all_logits(&model, &tokens);
        let theirs = reference.all_logits(&tokens);
        most = most.max(difference(&ours, theirs.iter().map(|&l| l.into())));
        assert!(most <= tolerance, "{text:?}: logits differ by {most}");
        let (ours, theirs) = (mean_nll(&ours, &tokens), mean_nll(&theirs, &tokens));
        assert!((ours - theirs).abs() <= 0.002, "{text:?}: {ours} and {theirs} nats a token");
        // A sentence that is repeated is no text that a model of stories expects, but words are.
        let guessed = (model.config().vocab as f64).ln();
        assert!(ours < guessed - 0.5, "{text:?}: {ours} nats a token, and guessing gives {guessed}");
    }
    println!("{}: logits differ from candle's by {most:e}", folder.display());
}

#[test]
fn the_demo_model_agrees_with_candle() {
    check_trained(&models::demo(), &TEXTS, 130, 1e-3);
}

#[test]
fn the_demo_model_agrees_with_candle_on_every_prefix() {
    let gpu = device::shared();
    let folder = models::demo();
    let model = load(&gpu, &folder, false);
    let mut reference = Candle::open(&folder);
    for text in TEXTS {
        let tokens = prompt(&folder, text, 24);
        let ours = all_logits(&model, &tokens);
        for (i, ours) in ours.chunks(model.config().vocab).enumerate() {
            let theirs = reference.last_logits(&tokens[..=i]);
            let most = difference(ours, theirs.iter().map(|&l| l.into()));
            assert!(most <= 1e-3, "{text:?}, {} tokens: logits differ by {most}", i + 1);
        }
    }
}

#[test]
fn smollm2_agrees_with_candle() {
    if let Some(folder) = models::optional("smollm2") {
        check_trained(&folder, &TEXTS[1..2], 24, 2e-2);
    }
}

/// Compares a random model of `config` with the other implementations, over more than two batches
/// of tokens. Rounding to F32 was seen to change logits by 1e-5 of their root mean square.
fn check_random(name: &str, config: Value, dtype: Dtype, with_candle: bool) {
    let folder = tempfile::tempdir().unwrap();
    random_model::write(folder.path(), &config, dtype);
    let vocab = random_model::size(&config, "vocab_size");
    let mut random = data::Random::new(7);
    let tokens: Vec<u32> = (0..140).map(|_| random.below(vocab) as u32).collect();

    let gpu = device::shared();
    let (_temporary, small) = compressed(folder.path());
    let model = load(&gpu, &small, false);
    let ours = all_logits(&model, &tokens);
    let oracle = Oracle::open(folder.path()).logits(&tokens);
    let spread = (oracle.iter().map(|l| l * l).sum::<f64>() / oracle.len() as f64).sqrt();
    assert!(spread > 0.5, "{name}: logits of {spread} tell too little");
    let tolerance = 5e-5 * spread;
    let most = difference(&ours, oracle.into_iter());
    println!("{name}: logits of about {spread:.2} differ from the oracle's by {most:e}");
    assert!(most <= tolerance, "{name}: logits differ from the oracle's by {most}");
    if with_candle {
        let mut reference = Candle::open(folder.path());
        let mut most = 0f64;
        for length in [1, 2, 16, 17, 40, 64, 65, 140] {
            let theirs = reference.last_logits(&tokens[..length]);
            let ours = &ours[(length - 1) * vocab..][..vocab];
            most = most.max(difference(ours, theirs.iter().map(|&l| l.into())));
            assert!(most <= tolerance, "{name}, {length} tokens: logits differ from candle's by {most}");
        }
        println!("{name}: logits differ from candle's by {most:e}");
    }
}

#[test]
fn llama_models_agree() {
    let llama = |changes| config("LlamaForCausalLM", changes);
    check_random("Llama", llama(json!({})), Dtype::BF16, true);
    check_random("tied Llama", llama(json!({"tie_word_embeddings": true})), Dtype::BF16, true);
    let heads = json!({"hidden_size": 60, "num_attention_heads": 3, "num_key_value_heads": 3});
    check_random("Llama with 3 heads of 20", llama(heads), Dtype::BF16, true);
    let wide = json!({"head_dim": 20, "num_attention_heads": 6, "num_key_value_heads": 3});
    check_random("Llama with wide heads", llama(wide), Dtype::BF16, false);
}

#[test]
fn llama_models_with_biases_agree() {
    let biases = json!({"attention_bias": true, "mlp_bias": true});
    check_random("Llama with biases", config("LlamaForCausalLM", biases), Dtype::BF16, false);
}

#[test]
fn llama_models_with_scaled_rotations_agree() {
    let scaled = |scaling| {
        let heads = json!({"hidden_size": 60, "num_attention_heads": 3, "num_key_value_heads": 3, "rope_scaling": scaling});
        config("LlamaForCausalLM", heads)
    };
    // With heads of 20 elements, one frequency is kept, two are blended and seven are divided.
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 48,
    });
    check_random("Llama 3", scaled(llama3), Dtype::BF16, true);
    check_random("linear", scaled(json!({"rope_type": "linear", "factor": 4.0})), Dtype::BF16, false);
}

#[test]
fn other_weight_types_agree() {
    for dtype in [Dtype::F16, Dtype::F32] {
        check_random(&format!("Llama in {dtype}"), config("LlamaForCausalLM", json!({})), dtype, true);
    }
}

#[test]
fn qwen2_models_agree() {
    check_random("Qwen2", config("Qwen2ForCausalLM", json!({})), Dtype::BF16, true);
    let window = json!({"use_sliding_window": true, "sliding_window": 21, "max_window_layers": 1});
    check_random("Qwen2 with a window", config("Qwen2ForCausalLM", window), Dtype::BF16, false);
}

#[test]
fn qwen3_models_agree() {
    let heads = json!({"head_dim": 20, "num_attention_heads": 6, "num_key_value_heads": 3});
    check_random("Qwen3", config("Qwen3ForCausalLM", heads), Dtype::BF16, true);
    let large = json!({"head_dim": 128, "num_attention_heads": 4, "num_key_value_heads": 1});
    check_random("Qwen3 with heads of 128", config("Qwen3ForCausalLM", large), Dtype::BF16, true);
}

#[test]
fn mistral_models_agree() {
    for window in [1, 7, 64, 100] {
        let changes = json!({"sliding_window": window, "head_dim": 20, "num_attention_heads": 6, "num_key_value_heads": 3});
        check_random(
            &format!("Mistral, window {window}"),
            config("MistralForCausalLM", changes),
            Dtype::BF16,
            true,
        );
    }
    check_random("Mistral", config("MistralForCausalLM", json!({"sliding_window": null})), Dtype::BF16, true);
}
