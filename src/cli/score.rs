//! `bantam score`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bantam::archive::Progress;
use bantam::model::{CacheType, Model, ModelConfig, ModelError, Outputs, Session};
use bantam::text::Tokenizer;
use serde_json::json;

use super::clock::{Clock, compile_words};
use super::interrupt::{self, Interrupted, Manner};
use super::open::ModelArgs;
use super::progress::Bar;
use super::sizes::megabytes;
use super::{Result, print};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text, in UTF-8
    file: PathBuf,
    /// Window length in tokens; by default the model's maximum. A longer text is cut into windows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    context: Option<u32>,
    /// Put the beginning-of-text token (BOS) before the text and before each window
    #[arg(long)]
    bos: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Tokens scored between two updates of the progress.
const STRIDE: usize = 64;

pub fn run(args: &Args) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file)
        .map_err(|e| format!("cannot read {}: {e}", args.file.display()))?;
    let (files, tokenizer) = args.model.open()?;
    let text = Text { bos: bos(args, &tokenizer)?, tokens: tokenizer.encode(&text, false)? };
    if text.scored() == 0 {
        let least = if args.bos { "one token" } else { "two tokens" };
        return Err(format!("{}: scoring needs a text of at least {least}", args.file.display()).into());
    }
    let config = ModelConfig::open(files.folder())?;
    text.check(&config)?;
    let context = context(args, &config, &text)?;
    let model = args.model.load(&files, &config, context, Outputs::All)?;
    let bar = Bar::default();
    bar.begin_count(text.scored() as u64, "scoring tokens");
    interrupt::set(Manner::Ask);
    let (mut score, clock) = (Score::default(), Clock::start(model.gpu()));
    let done = text.score(&model, args.model.kv_cache.into(), context, &bar, &mut score);
    let rate = score.tokens as f64 / clock.elapsed().as_secs_f64().max(1e-9);
    bar.finish();
    let is_interrupted = match done {
        Err(error) if error.is::<Interrupted>() => true,
        other => other.map(|()| false)?,
    };
    if score.tokens > 0 {
        report(args, &model, &text, &score, rate, is_interrupted)?;
    }
    match is_interrupted {
        true => interrupt::end(interrupt::code()),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// Prints the score; of the scored part if the user interrupted.
fn report(
    args: &Args,
    model: &Model,
    text: &Text,
    score: &Score,
    rate: f64,
    is_interrupted: bool,
) -> Result<()> {
    let nll = score.nll / score.tokens as f64;
    let perplexity = nll.exp();
    if !perplexity.is_finite() {
        return Err(format!(
            "{nll:.5} nats a token is not a usable score: the weights are damaged, or do not belong to config.json; \
             compare the files with their source"
        )
        .into());
    }
    let (peak, compiling) = (model.gpu().memory().peak(), model.gpu().compile_time());
    if args.json {
        let object = json!({
            "tokens": score.tokens,
            "interrupted": is_interrupted,
            "bos": args.bos,
            "nll": nll,
            "perplexity": perplexity,
            "tokens_per_second": rate,
            "compile_seconds": compiling.as_secs_f64(),
            "peak_device_bytes": peak,
        });
        print::line(object)
    } else {
        let tokens = match is_interrupted {
            true => format!("interrupted after {} of {}", score.tokens, text.scored()),
            false => score.tokens.to_string(),
        };
        print::line(format_args!(
            "{tokens} tokens, {nll:.5} nats a token, perplexity {:.4}; {rate:.1} tokens/s{}, peak device memory {}",
            perplexity,
            compile_words(compiling),
            megabytes(peak),
        ))
    }
}

/// The token to put before the text. Prints a remark if the model has one that was not requested.
fn bos(args: &Args, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    match tokenizer.bos_id() {
        None if args.bos => {
            let folder = args.model.model.display();
            Err(format!("{folder}: the model names no beginning-of-text token; score without --bos").into())
        }
        Some(id) if !args.bos => {
            print::remark(format_args!(
                "the text is scored without the beginning-of-text token {}; --bos adds it",
                tokenizer.token(id).unwrap_or_else(|| id.to_string()),
            ));
            Ok(None)
        }
        bos => Ok(bos),
    }
}

/// Positions of a window.
fn context(args: &Args, config: &ModelConfig, text: &Text) -> Result<usize> {
    let least = 2 + usize::from(args.bos);
    let all = text.tokens.len() + usize::from(args.bos);
    let most = args.context.map_or(usize::MAX, |positions| positions as usize);
    if most.min(config.max_positions) < least {
        return Err(format!("scoring needs a context of at least {least} tokens").into());
    }
    Ok(config.max_positions.min(all).min(most).max(2))
}

/// A text to score.
struct Text {
    /// The token before the text and before each window.
    bos: Option<u32>,
    tokens: Vec<u32>,
}

impl Text {
    /// The number of tokens that have a likelihood: all that follow another token.
    fn scored(&self) -> usize {
        (self.tokens.len() + usize::from(self.bos.is_some())).saturating_sub(1)
    }

    /// Returns an error if a token is outside the model's vocabulary. The last one is only predicted, so the
    /// session would not find that out.
    fn check(&self, config: &ModelConfig) -> Result<()> {
        let vocab = config.vocab;
        match self.bos.iter().chain(&self.tokens).find(|token| **token as usize >= vocab) {
            Some(&token) => Err(ModelError::NoSuchToken { token, vocab }.into()),
            None => Ok(()),
        }
    }

    /// Sums the negative log-likelihood of all tokens that have one. A text longer than `context` is cut into
    /// windows. Each begins with the last token of the window before, so that every token is scored once. If
    /// the user interrupts, `score` has the sum up to then.
    fn score(
        &self,
        model: &Arc<Model>,
        cache_type: CacheType,
        context: usize,
        progress: &dyn Progress,
        score: &mut Score,
    ) -> Result<()> {
        let mut session = Session::with_cache(model, context, Outputs::All, cache_type)?;
        let room = context - usize::from(self.bos.is_some());
        let starts = self.tokens.len().saturating_sub(1).max(1);
        for start in (0..starts).step_by((room - 1).max(1)) {
            let window = &self.tokens[start..(start + room).min(self.tokens.len())];
            let window: Vec<u32> = self.bos.iter().chain(window).copied().collect();
            // The window before has scored this token.
            let known = usize::from(self.bos.is_some() && start > 0);
            score.add_window(&mut session, &window, known, progress)?;
        }
        Ok(())
    }
}

/// The score of a text.
#[derive(Debug, Default)]
struct Score {
    /// Negative log-likelihood, in nats, summed over all scored tokens.
    nll: f64,
    /// The number of scored tokens.
    tokens: usize,
}

impl Score {
    /// Adds the tokens of a window, without the first and without `known` more.
    fn add_window(
        &mut self,
        session: &mut Session,
        window: &[u32],
        known: usize,
        progress: &dyn Progress,
    ) -> Result<()> {
        let vocab = session.model().config().vocab;
        session.rewind(0);
        // The last token has nothing to predict.
        for (i, inputs) in window[..window.len() - 1].chunks(STRIDE).enumerate() {
            let forward = interrupt::unless_interrupted(session.forward(inputs, Outputs::All));
            let logits = pollster::block_on(forward)??;
            let targets = &window[i * STRIDE + 1..];
            let known = known.saturating_sub(i * STRIDE);
            let scored = logits.chunks_exact(vocab).zip(targets).skip(known);
            self.nll += scored.map(|(l, &t)| nll(l, t)).sum::<f64>();
            self.tokens += inputs.len() - known;
            progress.advance((inputs.len() - known) as u64);
        }
        Ok(())
    }
}

/// Negative log-likelihood; finite if the logits are.
fn nll(logits: &[f32], target: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let below = |logit: f32| f64::from(logit) - f64::from(most);
    let sum: f64 = logits.iter().map(|&l| below(l).exp()).sum();
    sum.ln() - below(logits[target as usize])
}
