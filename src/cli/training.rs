//! What `bantam train` and `bantam finetune` share: options, steps, checkpoints and what is said of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bantam::archive::ModelFiles;
use bantam::gpu::{Gpu, Transcoded};
use bantam::model::require_runnable;
use bantam::train::data::DataFiles;
use bantam::train::{
    Decay, LoraOptions, MomentsDtype, Optimizer, Rounding, RunOptions, Schedule, TrainOptions, TrainingRun,
    UpdateOptions,
};
use indicatif::HumanDuration;
use serde_json::json;

use super::checkpoint_store::CheckpointStore;
use super::clock::{Clock, compile_words};
use super::device::DeviceArgs;
use super::interrupt;
use super::loss_picture;
use super::sizes::{megabytes, parse_bytes};
use super::{Result, print};

#[derive(clap::Args)]
pub struct TrainingArgs {
    /// Model folder, compressed or not
    pub model: PathBuf,
    /// Training data: a .jsonl or .txt file, or a folder with train.jsonl or train.txt, and with valid.jsonl or
    /// valid.txt if the loss is to be measured on other data too
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// The folder for the result
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Go on from the checkpoint in the output folder, with the options that it was begun with
    #[arg(long, conflicts_with_all = ["force", "length", "batch", "accumulate", "optimizer", "rounding", "lr", "seed", "warm_up", "decay",
        "weight_decay", "moments", "clip", "completions_only", "no_packing"])]
    resume: bool,
    /// Replace the output folder if it exists
    #[arg(short, long)]
    force: bool,
    /// Steps in all
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    length: u32,
    /// Sequences of a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch: u32,
    /// Batches of a step, whose gradients add up; for adapters only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    accumulate: u32,
    /// How gradients change weights
    #[arg(long, value_enum, default_value_t)]
    optimizer: OptimizerArg,
    /// How new weights are rounded to BF16
    #[arg(long, value_enum, default_value_t)]
    rounding: RoundingArg,
    /// Largest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-4, value_parser = parse_rate)]
    lr: f32,
    /// Steps in which the learning rate goes up to that
    #[arg(long, value_name = "N", default_value_t = 0)]
    warm_up: u64,
    /// How the learning rate goes down after that
    #[arg(long, value_enum, default_value_t)]
    decay: DecayArg,
    /// How much of each weight of a matrix a step takes away, times the learning rate
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = parse_rate)]
    weight_decay: f32,
    /// Type of AdamW's moments of matrices
    #[arg(long, value_enum, default_value_t)]
    moments: MomentsArg,
    /// Limit each element of a gradient to this size. Norms of all gradients cannot be limited, because they are never
    /// all there
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    clip: Option<f32>,
    /// Seed of the data's order, of rounding, and of new weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u32,
    /// Learn completions and the assistant's messages only
    #[arg(long)]
    completions_only: bool,
    /// Give each record a sequence of its own
    #[arg(long)]
    no_packing: bool,
    /// How matrices are stored in device memory; no bit of the result depends on it
    #[arg(long, value_enum, default_value_t)]
    layout: LayoutArg,
    /// Steps between checkpoints; by default there is one, after the last step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    save_every: Option<u64>,
    /// Steps between measurements of the loss on the validation data. It is measured after the last step, too
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    valid_every: u64,
    /// Add each checkpoint to this store, too, as a version of NAME; by default the name is that of the output folder
    #[arg(long, value_name = "STORE[#NAME]")]
    store: Option<CheckpointStore>,
    /// Maximum device memory, such as 2GiB, 500MB, or a number of bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_memory: Option<u64>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `--optimizer`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum OptimizerArg {
    /// Nothing is kept for a weight
    Sgd,
    /// Two moments are kept for each weight, eight bytes, or three with --moments bf16
    #[default]
    Adamw,
    /// A mean is kept for each row and each column
    Adalomo,
}

/// `--moments`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum MomentsArg {
    /// Eight bytes for a weight
    #[default]
    F32,
    /// Rounded as weights are; three bytes for a weight where weights are compressed, and four elsewhere
    Bf16,
}

impl From<MomentsArg> for MomentsDtype {
    fn from(arg: MomentsArg) -> Self {
        match arg {
            MomentsArg::F32 => Self::F32,
            MomentsArg::Bf16 => Self::Bf16,
        }
    }
}

impl From<OptimizerArg> for Optimizer {
    fn from(arg: OptimizerArg) -> Self {
        match arg {
            OptimizerArg::Sgd => Self::Sgd,
            OptimizerArg::Adamw => Self::ADAM_W,
            OptimizerArg::Adalomo => Self::ADA_LOMO,
        }
    }
}

/// `--rounding`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum RoundingArg {
    /// To the nearest; small changes are lost
    Nearest,
    /// Up or down at random, so that small changes count on average
    #[default]
    Stochastic,
}

/// `--decay`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum DecayArg {
    /// Not at all
    #[default]
    Constant,
    /// In a straight line
    Linear,
    /// In half a cosine
    Cosine,
}

/// `--layout`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum LayoutArg {
    /// Uncompressed: 16 bits a weight
    Raw,
    /// 12 bits a weight
    Fast,
    /// About 11 bits a weight
    #[default]
    Tiered,
}

fn parse_rate(text: &str) -> std::result::Result<f32, String> {
    let rate: f32 = text.parse().map_err(|_| "not a number".to_string())?;
    if rate.is_finite() && rate >= 0.0 {
        Ok(rate)
    } else {
        Err("must be a finite number, not below 0".into())
    }
}

fn parse_size(text: &str) -> std::result::Result<f32, String> {
    match parse_rate(text)? {
        0.0 => Err("must be above 0".into()),
        size => Ok(size),
    }
}

impl TrainingArgs {
    /// The options of a run, which trains adapters if there are options for them.
    fn options(&self, lora: Option<LoraOptions>) -> RunOptions {
        let rounding = match self.rounding {
            RoundingArg::Nearest => Rounding::Nearest,
            RoundingArg::Stochastic => Rounding::Stochastic,
        };
        let decay = match self.decay {
            DecayArg::Constant => Decay::Constant,
            DecayArg::Linear => Decay::Linear,
            DecayArg::Cosine => Decay::Cosine,
        };
        let layout = match self.layout {
            LayoutArg::Raw => None,
            LayoutArg::Fast => Some(Transcoded::Fast),
            LayoutArg::Tiered => Some(Transcoded::Tiered),
        };
        let schedule = Schedule { learning_rate: self.lr, warm_up: self.warm_up, decay, steps: self.steps };
        let update = UpdateOptions {
            optimizer: self.optimizer.into(),
            rounding,
            schedule,
            weight_decay: self.weight_decay,
            moments: self.moments.into(),
            clip: self.clip,
            seed: self.seed,
        };
        let train = TrainOptions::default()
            .with_length(self.length as usize)
            .with_sequences(self.batch as usize)
            .with_accumulate(self.accumulate as usize)
            .with_layout(layout)
            .with_lora(lora)
            .with_update(update);
        RunOptions::default()
            .with_train(train)
            .with_completions_only(self.completions_only)
            .with_packs(!self.no_packing)
    }

    /// Opens the data and the model in `model`, and begins or resumes the run.
    fn open(&self, gpu: &Gpu, model: &Path, lora: Option<LoraOptions>) -> Result<TrainingRun> {
        let data = DataFiles::find(&self.data)?;
        let options = self.options(lora);
        if self.resume {
            let run = TrainingRun::resume(gpu, &self.output, model, &data, options, Some(self.steps));
            return Ok(pollster::block_on(run)?);
        }
        if self.output.symlink_metadata().is_ok() && !self.force {
            let output = self.output.display();
            return Err(format!("{output} exists; --resume goes on from it, and --force replaces it").into());
        }
        let files = ModelFiles::open(model)?;
        require_runnable(&files)?;
        Ok(pollster::block_on(TrainingRun::begin(gpu, &files, &data, options))?)
    }

    /// Trains the model in `model`, or adapters for it.
    pub fn train(&self, model: &Path, lora: Option<LoraOptions>) -> Result<ExitCode> {
        if let Some(store) = &self.store {
            // What is wrong with it is said before anything is computed.
            store.require(&self.output)?;
        }
        let gpu = self.device.open_within(self.max_memory)?.with_warm_up();
        let mut run = self.open(&gpu, model, lora)?;
        let before = run.trainer().steps();
        if before >= self.steps {
            let output = self.output.display();
            let steps = self.steps;
            return Err(
                format!("{output} has {before} steps already; --steps {steps} asks for no more").into()
            );
        }
        let mut pace = Pace::new(&gpu, self.steps - before, run.step_tokens());
        let mut last_valid_loss = None;
        while run.trainer().steps() < self.steps {
            if interrupt::interrupted() {
                self.save(&run)?;
                print::remark(format_args!("{} steps are kept; --resume goes on", run.trainer().steps()));
                interrupt::end(interrupt::code());
            }
            let valid_loss = self.step(&mut run, &mut pace)?;
            last_valid_loss = valid_loss.or(last_valid_loss);
        }
        self.report(&run, &gpu, &pace, last_valid_loss)?;
        Ok(ExitCode::SUCCESS)
    }

    /// One step, and what is due after it. The loss on the validation data, if it was measured.
    fn step(&self, run: &mut TrainingRun, pace: &mut Pace) -> Result<Option<f64>> {
        let step = pollster::block_on(run.step())?.step;
        pace.count();
        let is_last = step == self.steps;
        let saves = is_last || self.save_every.is_some_and(|every| step.is_multiple_of(every));
        // The log does not depend on where a run ends.
        let is_noted = step.is_multiple_of(self.valid_every);
        let valid_loss = match is_last || is_noted {
            true => pace.aside(|| pollster::block_on(run.validate(is_noted)))?,
            false => None,
        };
        pace.say(run, valid_loss, saves);
        if saves {
            pace.aside(|| self.save(run))?;
        }
        Ok(valid_loss)
    }

    /// Writes a checkpoint, and the picture of the losses.
    fn save(&self, run: &TrainingRun) -> Result<()> {
        pollster::block_on(run.save(&self.output))?;
        loss_picture::draw(&self.output.join("loss.svg"), run.log())?;
        match &self.store {
            Some(store) => store.add(&self.output),
            None => Ok(()),
        }
    }

    fn report(&self, run: &TrainingRun, gpu: &Gpu, pace: &Pace, valid_loss: Option<f64>) -> Result<()> {
        let losses: Vec<f64> = run.log().iter().map(|entry| entry.loss).collect();
        let hash = pollster::block_on(run.trainer().weights_blake3())?;
        let peak = gpu.memory().peak();
        if self.json {
            return print::line(json!({
                "steps": run.trainer().steps(),
                "losses": losses,
                "valid_loss": valid_loss,
                "tokens_per_second": pace.rate(),
                "peak_device_bytes": peak,
                "weights_blake3": hash.to_hex().as_str(),
            }));
        }
        let last = losses.last().copied().unwrap_or(f64::NAN);
        let valid = valid_loss.map_or(String::new(), |loss| format!(", validation loss {loss:.4}"));
        print::line(format_args!(
            "{}: {} steps, loss {last:.4}{valid}; {:.1} tokens/s, peak device memory {}{}",
            self.output.display(),
            run.trainer().steps(),
            pace.rate(),
            megabytes(peak),
            compile_words(gpu.compile_time()),
        ))
    }
}

/// How fast steps are, and when that was said last.
struct Pace {
    clock: Clock,
    /// Time that was spent on steps.
    spent: Duration,
    said: Option<Instant>,
    left: u64,
    done: u64,
    step_tokens: usize,
}

/// Time between two lines about steps.
const SAY_EVERY: Duration = Duration::from_secs(2);

impl Pace {
    fn new(gpu: &Gpu, steps: u64, step_tokens: usize) -> Self {
        let clock = Clock::start(gpu);
        Self { clock, spent: Duration::ZERO, said: None, left: steps, done: 0, step_tokens }
    }

    /// Counts a step.
    fn count(&mut self) {
        self.left -= 1;
        self.done += 1;
        self.spent += self.clock.lap();
    }

    /// Does something that is no step.
    fn aside<T, E>(&mut self, work: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
        let result = work();
        self.clock.lap();
        result
    }

    fn seconds(&self) -> f64 {
        self.spent.as_secs_f64().max(1e-9)
    }

    /// Tokens of a second.
    fn rate(&self) -> f64 {
        (self.done * self.step_tokens as u64) as f64 / self.seconds()
    }

    /// Says how the last step went, unless that was done a moment ago.
    fn say(&mut self, run: &TrainingRun, valid_loss: Option<f64>, always: bool) {
        let Some(entry) = run.log().last() else { return };
        if !always && valid_loss.is_none() && self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let valid = valid_loss.map_or(String::new(), |loss| format!(", validation {loss:.4}"));
        let left = (self.seconds() / self.done.max(1) as f64 * self.left as f64) as u64;
        let left = HumanDuration(Duration::from_secs(left));
        print::remark(format_args!(
            "step {}: loss {:.4}{valid}, learning rate {:.2e}, {:.1} tokens/s, {left} left, peak device memory {}",
            entry.step,
            entry.loss,
            entry.learning_rate,
            self.rate(),
            megabytes(run.trainer().peak_device_bytes()),
        ));
    }
}
