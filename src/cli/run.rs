//! `bantam run`

use std::process::ExitCode;

use bantam::model::{Model, ModelConfig, Outputs, Session};
use bantam::text::{Limits, Message, Sampler, SamplingOptions, Tokenizer};
use serde_json::json;

use super::context::{parse_context, room};
use super::generated::{Ended, Generated, generate_text};
use super::interrupt::{self, Manner};
use super::open::ModelArgs;
use super::prompt::PromptArgs;
use super::sampling::{SamplingArgs, seed_of};
use super::sizes::megabytes;
use super::template::{Template, TemplateArgs};
use super::{Result, chat, failure, print, residency, waiting};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Maximum tokens to generate; by default 128, or in a chat as many as fit the context
    #[arg(short, long = "tokens", value_name = "N")]
    n: Option<usize>,
    /// Context length in tokens, for prompt and reply together; by default as much as is needed, up to the
    /// model's maximum
    #[arg(long, value_name = "N", value_parser = parse_context)]
    context: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    chat: bool,
    #[command(flatten)]
    template: TemplateArgs,
    /// Print statistics of streaming: bytes moved, time waited, overlap
    #[arg(long)]
    stats: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The default maximum number of generated tokens.
const USUAL_MOST: usize = 128;

pub fn run(args: &Args) -> Result<ExitCode> {
    if !args.prompt.is_given() {
        return converse(args);
    }
    if args.template.is_given() && !args.chat {
        return Err("--system and --template-arg need a chat template; add --chat".into());
    }
    // First check what needs no loaded model.
    let sampling = args.sampling.options(SamplingOptions::default())?;
    let sampler = Sampler::new(&sampling)?;
    let text = args.prompt.read()?;
    let (files, tokenizer) = args.model.open()?;
    let prompt = match args.chat {
        false => tokenizer.encode(&text, true)?,
        true => chat_tokens(args, files.folder(), &tokenizer, &text)?,
    };
    let most = args.n.unwrap_or(USUAL_MOST);
    let config = ModelConfig::open(files.folder())?;
    let context = context(args.context, &config, prompt.len(), most)?;
    let model = args.model.load(&files, &config, context, Outputs::Last)?;
    let show = |text: &str| match args.json {
        true => Ok(()),
        false => print::part(text),
    };
    let mut session = Session::with_cache(&model, context, Outputs::Last, args.model.kv_cache.into())?;
    interrupt::set(Manner::Ask);
    let limits = Limits::default().with_max_tokens(most).with_stop(args.sampling.stop.clone());
    let generated = waiting::for_a_reader(|| {
        if !args.chat {
            show(&text)?;
        }
        generate_text(&mut session, &tokenizer, &prompt, sampler, limits, show)
    })?;
    if !args.json && generated.ended != Ended::Unread {
        print::part("\n")?;
    }
    report(args, &model, &generated, context, seed_of(&sampling))?;
    match generated.ended {
        Ended::Because(_) => Ok(ExitCode::SUCCESS),
        Ended::Interrupted => interrupt::end(interrupt::code()),
        Ended::Unread => interrupt::end(failure::CLOSED_PIPE),
    }
}

/// `run` without a prompt, on a terminal.
fn converse(args: &Args) -> Result<ExitCode> {
    if args.json {
        return Err("a chat cannot be printed as JSON; give a prompt (-p TEXT or -f FILE)".into());
    }
    chat::converse(&chat::Wanted {
        model: &args.model,
        sampling: &args.sampling,
        template: &args.template,
        most: args.n,
        context: args.context,
        stats: args.stats,
    })
}

fn chat_tokens(args: &Args, folder: &std::path::Path, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let template = Template::open(folder, &args.template, "run without --chat")?;
    let system = args.template.system.as_deref().map(Message::system);
    let messages: Vec<Message> = system.into_iter().chain([Message::user(text)]).collect();
    template.tokens(tokenizer, &messages)
}

/// Positions for a prompt and its reply. Returns an error if the prompt does not fit.
fn context(wanted: Option<usize>, config: &ModelConfig, prompt: usize, most: usize) -> Result<usize> {
    let room = room(wanted, config);
    if prompt > room {
        let made_for = config.max_positions;
        let why = match wanted {
            Some(_) => format!("--context is {room}"),
            None => format!("the model was made for {made_for} (max_position_embeddings of its config.json)"),
        };
        return Err(format!("the prompt is {prompt} tokens, but {why}; shorten it").into());
    }
    Ok(prompt.saturating_add(most).min(room))
}

fn report(
    args: &Args,
    model: &Model,
    generated: &Generated,
    context: usize,
    seed: Option<u64>,
) -> Result<()> {
    let peak = model.gpu().memory().peak();
    if args.json {
        let mut object = json!({
            "text": generated.text,
            "prompt_tokens": generated.prompt_tokens,
            "generated_tokens": generated.generated_tokens,
            "stop_reason": generated.ended.name(),
            "context": context,
            "seed": seed,
            "prefill_tokens_per_second": generated.prefill_rate(),
            "tokens_per_second": generated.rate(),
            "compile_seconds": model.gpu().compile_time().as_secs_f64(),
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
        "{}; {}weights {}, peak device memory {}; {}",
        generated.words(model.gpu().compile_time()),
        seed.map_or(String::new(), |seed| format!("seed {seed}; ")),
        megabytes(model.weight_bytes()),
        megabytes(peak),
        model.gpu().name(),
    ));
    if args.stats {
        print::remark(residency::stats_words(model, generated.elapsed()));
    }
    Ok(())
}
