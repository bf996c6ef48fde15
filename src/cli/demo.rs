//! `bantam demo`: compresses, verifies and runs the built-in model.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam::archive::{self, Options, Report};
use bantam::gpu::Gpu;
use bantam::model::{LoadOptions, Model, Outputs, Session};
use bantam::text::{Sampler, SamplingOptions, Tokenizer};
use serde_json::{Value, json};

use super::device::DeviceArgs;
use super::generated::{Ended, Generated, generate_text};
use super::interrupt::Interrupted;
use super::kernel::KernelArgs;
use super::open;
use super::{Result, print, sizes, verify};

#[derive(clap::Args)]
pub struct Args {
    /// Text that the stories start with
    #[arg(
        short,
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        default_value = "The little rooster"
    )]
    prompt: String,
    /// Tokens to generate
    #[arg(short, long = "tokens", value_name = "N", default_value_t = 120)]
    n: usize,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `assets/demo`.
const FILES: [(&str, &[u8]); 4] = [
    ("model.safetensors", include_bytes!("../../assets/demo/model.safetensors")),
    ("config.json", include_bytes!("../../assets/demo/config.json")),
    ("tokenizer.json", include_bytes!("../../assets/demo/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../assets/demo/tokenizer_config.json")),
];

/// The result of one of the two runs.
struct Run {
    generated: Generated,
    /// Logits of every token of the prompt, and of the one after it.
    logits: Vec<f32>,
    weight_bytes: u64,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let say = |text: String| if args.json { Ok(()) } else { print::line(text) };
    // Use the kernels and the layout that `run` would choose.
    let gpu = args.kernel.choose(args.device.open()?, &args.device)?;
    say(format!("Device: {}", gpu.name()))?;
    let folder = tempfile::tempdir()?;
    let (plain, compressed) = (folder.path().join("demo"), folder.path().join("demo-bantam"));
    std::fs::create_dir(&plain)?;
    for (name, bytes) in FILES {
        std::fs::write(plain.join(name), bytes)?;
    }

    let (report, time) =
        timed(|| Ok(archive::compress(&plain, Some(&compressed), &Options::default(), &())?))?;
    let change = sizes::change(report.original_bytes(), report.compressed_bytes());
    say(format!("Compressed: {change}{}", sizes::speed(report.original_bytes(), time)))?;
    let lossless = [check(&compressed, None)?, check(&compressed, Some(&gpu))?];
    say(format!("Decoded on the CPU: {}", words(lossless[0], "identical to the original", "DIFFERENT")))?;
    say(format!("Decoded on the device: {}", words(lossless[1], "identical to the original", "DIFFERENT")))?;

    let runs = [one_run(&gpu, &plain, args)?, one_run(&gpu, &compressed, args)?];
    let same_text = runs[0].generated.text == runs[1].generated.text;
    let bits = |run: &Run| run.logits.iter().map(|l| l.to_bits()).collect::<Vec<_>>();
    let same_logits = bits(&runs[0]) == bits(&runs[1]);
    say(format!("\n{}{}\n", args.prompt, runs[1].generated.text))?;
    let [raw, compressed] = &runs;
    say(format!(
        "Weights on the device: {} compressed, {} raw ({:.1} %)",
        sizes::megabytes(compressed.weight_bytes),
        sizes::megabytes(raw.weight_bytes),
        100.0 * compressed.weight_bytes as f64 / raw.weight_bytes.max(1) as f64
    ))?;
    let [rate, raw_rate] = [compressed, raw].map(|run| run.generated.rate());
    say(format!("Speed: {rate:.1} tokens/s from compressed weights, {raw_rate:.1} from raw"))?;
    if rate < raw_rate {
        say(why_slower(&gpu).into())?;
    }
    say(format!("Compiling kernels took {:.1} s, once", gpu.compile_time().as_secs_f64()))?;
    say(format!("Texts: {}", words(same_text, "identical", "DIFFERENT")))?;
    say(format!(
        "Logits: {} ({} numbers)",
        words(same_logits, "identical in every bit", "DIFFERENT"),
        runs[0].logits.len()
    ))?;
    let ok = same_text && same_logits && lossless == [true; 2];
    if args.json {
        print::line(summary(&gpu, &report, &runs, ok))?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn words(good: bool, yes: &'static str, no: &'static str) -> &'static str {
    if good { yes } else { no }
}

/// Explains why computing from fewer bytes takes longer here.
fn why_slower(gpu: &Gpu) -> &'static str {
    match gpu.is_cpu() {
        true => {
            "  (This device is a CPU, where decoding costs more than reading. Compression saves memory here, not time.)"
        }
        false => {
            "  (This model is so small that it stays in the GPU's caches, where reading fewer bytes saves no time. \
             `bantam bench` compares larger ones.)"
        }
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

/// Whether every tensor decodes to its original bytes, on the CPU or on a device.
fn check(compressed: &Path, gpu: Option<&Gpu>) -> Result<bool> {
    let verification = match gpu {
        None => archive::verify(compressed, &())?,
        Some(gpu) => archive::verify_with(compressed, &|_, payload| verify::decode_on(gpu, payload), &())?,
    };
    Ok(verification.failures.is_empty() && verification.tensors > 0)
}

fn one_run(gpu: &Gpu, folder: &Path, args: &Args) -> Result<Run> {
    let (files, tokenizer) = open::open(folder)?;
    let model = open::load(gpu, &files, &LoadOptions::default())?;
    let prompt = tokenizer.encode(&args.prompt, true)?;
    let sampler = Sampler::new(&SamplingOptions::default())?;
    let room = model.config().max_positions;
    if prompt.len() > room {
        return Err(format!(
            "the prompt is {} tokens, but the model was made for {room}; shorten it",
            prompt.len()
        )
        .into());
    }
    let context = prompt.len().saturating_add(args.n).min(room);
    let mut session = Session::new(&model, context, Outputs::Last)?;
    let generated = generate_text(&mut session, &tokenizer, &prompt, sampler, args.n.into(), |_| Ok(()))?;
    if generated.ended == Ended::Interrupted {
        return Err(Interrupted.into());
    }
    let logits = logits(&model, &tokenizer, &prompt)?;
    Ok(Run { generated, logits, weight_bytes: model.weight_bytes() })
}

fn logits(model: &Arc<Model>, tokenizer: &Tokenizer, prompt: &[u32]) -> Result<Vec<f32>> {
    let mut session = Session::new(model, prompt.len() + 1, Outputs::All)?;
    let mut logits = pollster::block_on(session.forward(prompt, Outputs::All))?;
    let next = tokenizer.bos_id().unwrap_or(0);
    logits.extend(pollster::block_on(session.forward(&[next], Outputs::Last))?);
    Ok(logits)
}

fn summary(gpu: &Gpu, report: &Report, runs: &[Run; 2], ok: bool) -> Value {
    let run = |run: &Run| {
        json!({
            "tokens_per_second": run.generated.rate(),
            "prefill_tokens_per_second": run.generated.prefill_rate(),
            "weight_bytes": run.weight_bytes,
        })
    };
    json!({
        "ok": ok,
        "stop_reason": runs[1].generated.ended.name(),
        "device": gpu.name(),
        "original_bytes": report.original_bytes(),
        "compressed_bytes": report.compressed_bytes(),
        "text": runs[1].generated.text,
        "compile_seconds": gpu.compile_time().as_secs_f64(),
        "raw": run(&runs[0]),
        "compressed": run(&runs[1]),
    })
}
