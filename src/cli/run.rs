//! `bantam run`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam::model::{CacheType, Model, ModelConfig, Outputs, Session};
use bantam::text::{ChatTemplate, Message, Sampler, SamplingOptions, Tokenizer, generate};
use futures::StreamExt;
use serde_json::json;

use super::open::ModelArgs;
use super::sizes::megabytes;
use super::{Result, interrupt, print, residency};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What the model goes on from, or, with --chat, answers to
    #[arg(short, long, value_name = "TEXT")]
    prompt: String,
    /// Most tokens to generate
    #[arg(short, long = "tokens", value_name = "N", default_value_t = 128)]
    n: usize,
    /// 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Consider only the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Consider only so many of the likeliest tokens; 0 for all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Seed of the random choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    chat: bool,
    /// Say what streaming layers took: bytes moved, time waited, overlap
    #[arg(long)]
    stats: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A prompt with the text that was generated from it.
pub struct Generated {
    pub text: String,
    pub prompt_tokens: usize,
    pub generated_tokens: usize,
    /// Time to the first token: the prompt's computation.
    pub prefill: Duration,
    /// Time of the tokens after the first.
    pub decode: Duration,
}

impl Generated {
    fn elapsed(&self) -> Duration {
        self.prefill + self.decode
    }

    pub fn prefill_rate(&self) -> f64 {
        self.prompt_tokens as f64 / self.prefill.as_secs_f64().max(1e-9)
    }

    /// Tokens a second after the first; 0 where there are none.
    pub fn rate(&self) -> f64 {
        match self.generated_tokens {
            0 | 1 => 0.0,
            n => (n - 1) as f64 / self.decode.as_secs_f64().max(1e-9),
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    // First what can be refused without loading a model.
    let sampler = Sampler::new(SamplingOptions {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
    })?;
    let (files, tokenizer) = args.model.open()?;
    let prompt = prompt_tokens(args, files.folder(), &tokenizer)?;
    let config = ModelConfig::open(files.folder())?;
    let working_set = Session::device_bytes(&config, context(&config, &prompt, args.n), Outputs::Last);
    let model = args.model.load(&files, working_set)?;
    let show = |text: &str| match args.json {
        true => Ok(()),
        false => print::part(text),
    };
    if !args.chat {
        show(&args.prompt)?;
    }
    let generated =
        generate_text(&model, args.model.kv_cache.into(), &tokenizer, &prompt, sampler, args.n, show)?;
    if !args.json {
        print::line("")?;
    }
    report(args, &model, &generated)?;
    Ok(ExitCode::SUCCESS)
}

fn prompt_tokens(args: &Args, folder: &Path, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    if !args.chat {
        return Ok(tokenizer.encode(&args.prompt, true)?);
    }
    let template = ChatTemplate::open(folder)?
        .ok_or_else(|| format!("{} has no chat template; run without --chat", folder.display()))?;
    Ok(template.encode(tokenizer, &[Message::user(&args.prompt)], true)?)
}

/// Positions that a prompt and its reply take.
fn context(config: &ModelConfig, prompt: &[u32], n: usize) -> usize {
    prompt.len().saturating_add(n).min(config.max_positions.max(prompt.len()))
}

/// Generates up to `n` tokens, handing out text as it comes.
pub fn generate_text(
    model: &Arc<Model>,
    cache_type: CacheType,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    sampler: Sampler,
    n: usize,
    show: impl Fn(&str) -> Result<()>,
) -> Result<Generated> {
    let context = context(model.config(), prompt, n);
    let mut session = Session::with_cache(model, context, Outputs::Last, cache_type)?;
    let mut result = Generated {
        text: String::new(),
        prompt_tokens: prompt.len(),
        generated_tokens: 0,
        prefill: Duration::ZERO,
        decode: Duration::ZERO,
    };
    let mut stream = std::pin::pin!(generate(&mut session, tokenizer, prompt, sampler, n));
    let mut start = Instant::now();
    pollster::block_on(async {
        while let Some(piece) = interrupt::unless_interrupted(stream.next()).await? {
            let piece = piece?;
            if piece.token.is_some() {
                result.generated_tokens += 1;
            }
            if result.generated_tokens == 1 && result.prefill.is_zero() {
                result.prefill = start.elapsed();
                start = Instant::now();
            }
            show(&piece.text)?;
            result.text += &piece.text;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    match result.generated_tokens {
        0 => result.prefill = start.elapsed(),
        _ => result.decode = start.elapsed(),
    }
    Ok(result)
}

fn report(args: &Args, model: &Model, generated: &Generated) -> Result<()> {
    let peak = model.gpu().memory().peak();
    if args.json {
        let mut object = json!({
            "text": generated.text,
            "prompt_tokens": generated.prompt_tokens,
            "generated_tokens": generated.generated_tokens,
            "prefill_tokens_per_second": generated.prefill_rate(),
            "tokens_per_second": generated.rate(),
            "peak_device_bytes": peak,
            "weight_bytes": model.weight_bytes(),
            "device": model.gpu().name(),
        });
        if args.stats {
            object["streaming"] = residency::stats_json(model, generated.elapsed());
        }
        return print::line(object);
    }
    print::remark(format_args!(
        "{} tokens of prompt at {:.1} tokens/s, {} generated at {:.2} tokens/s; \
         weights {}, peak device memory {}; {}",
        generated.prompt_tokens,
        generated.prefill_rate(),
        generated.generated_tokens,
        generated.rate(),
        megabytes(model.weight_bytes()),
        megabytes(peak),
        model.gpu().name(),
    ));
    if args.stats {
        print::remark(residency::stats_words(model, generated.elapsed()));
    }
    Ok(())
}
