//! `bantam score`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bantam::archive::{ArchiveError, Progress};
use bantam::model::{CacheType, Model, ModelConfig, Outputs, Session};
use serde_json::json;

use super::open::ModelArgs;
use super::progress::Bar;
use super::sizes::megabytes;
use super::{Result, interrupt, print};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text, in UTF-8
    file: PathBuf,
    /// Positions that are scored at once, if not all that the model has: a longer text is cut into windows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    context: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Tokens that are scored between two looks at the progress.
const STRIDE: usize = 64;

pub fn run(args: &Args) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file).map_err(|e| format!("{}: {e}", args.file.display()))?;
    let (files, tokenizer) = args.model.open()?;
    let tokens = tokenizer.encode(&text, false)?;
    if tokens.len() < 2 {
        return Err(
            format!("{}: a text of at least two tokens is needed to score", args.file.display()).into()
        );
    }
    let config = ModelConfig::open(files.folder())?;
    let context = context(args, &config, &tokens);
    let model = args.model.load(&files, Session::device_bytes(&config, context, Outputs::All))?;
    let bar = Bar::default();
    bar.begin_count(tokens.len() as u64 - 1, "scoring tokens");
    let start = Instant::now();
    let nll = mean_nll(&model, args.model.kv_cache.into(), context, &tokens, &bar);
    let rate = (tokens.len() - 1) as f64 / start.elapsed().as_secs_f64();
    bar.finish();
    let nll = nll?;
    let peak = model.gpu().memory().peak();
    if args.json {
        let object = json!({
            "tokens": tokens.len() - 1,
            "nll": nll,
            "perplexity": nll.exp(),
            "tokens_per_second": rate,
            "peak_device_bytes": peak,
        });
        print::line(object)?;
    } else {
        print::line(format_args!(
            "{} tokens, {nll:.5} nats a token, perplexity {:.4}; {rate:.1} tokens/s, peak device memory {}",
            tokens.len() - 1,
            nll.exp(),
            megabytes(peak),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Positions that are scored at once.
fn context(args: &Args, config: &ModelConfig, tokens: &[u32]) -> usize {
    let most = args.context.map_or(usize::MAX, |positions| positions as usize);
    config.max_positions.min(tokens.len()).min(most).max(2)
}

/// Mean negative log-likelihood, in nats, of all tokens but the first. A text that is longer than
/// `context` is cut into windows, each of which begins with the last token of the one
/// before, so that every token is scored once.
fn mean_nll(
    model: &Arc<Model>,
    cache_type: CacheType,
    context: usize,
    tokens: &[u32],
    progress: &dyn Progress,
) -> Result<f64> {
    let vocab = model.config().vocab;
    let mut session = Session::with_cache(model, context, Outputs::All, cache_type)?;
    let mut total = 0.0;
    for start in (0..tokens.len() - 1).step_by(context - 1) {
        let window = &tokens[start..(start + context).min(tokens.len())];
        session.rewind(0);
        // The last token has nothing to predict.
        for (i, inputs) in window[..window.len() - 1].chunks(STRIDE).enumerate() {
            if interrupt::interrupted() {
                return Err(ArchiveError::Cancelled.into());
            }
            let logits = pollster::block_on(session.forward(inputs, Outputs::All))?;
            let targets = &window[i * STRIDE + 1..];
            total += logits.chunks_exact(vocab).zip(targets).map(|(l, &t)| nll(l, t)).sum::<f64>();
            progress.advance(inputs.len() as u64);
        }
    }
    Ok(total / (tokens.len() - 1) as f64)
}

fn nll(logits: &[f32], target: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - most).exp()).sum();
    sum.ln() - f64::from(logits[target as usize] - most)
}
