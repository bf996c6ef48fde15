//! A training run: data, steps, validation and checkpoints.

use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::checkpoint::{Checkpoint, FORMAT, RunState, restore_state};
use super::data::{DataFiles, Position, RecordEncoder, Records, SequenceOptions, Sequences};
use super::error::TrainError;
use super::log::{self, LogEntry};
use super::optimizer::UpdateOptions;
use super::options::TrainOptions;
use super::trainer::Trainer;
use crate::archive::ModelFiles;
use crate::gpu::Gpu;
use crate::model::{Adapter, ModelConfig};
use crate::text::{ChatTemplate, Tokenizer};

/// Sequences of validation data that are looked at, the first ones, at the most. Not batches: the loss of a model must not
/// depend on how many sequences are in one.
const MOST_VALID_SEQUENCES: usize = 256;

/// What a run is made with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunOptions {
    /// The trainer's options.
    pub train: TrainOptions,
    /// Whether only completions and messages of the assistant count towards the loss.
    pub completions_only: bool,
    /// Whether sequences go on from one record to the next.
    pub packs: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { train: TrainOptions::default(), completions_only: false, packs: true }
    }
}

setters!(RunOptions {
    train: TrainOptions => with_train,
    completions_only: bool => with_completions_only,
    packs: bool => with_packs,
});

/// A model, its data, and what was done so far.
#[derive(Debug)]
pub struct TrainingRun {
    trainer: Trainer,
    options: RunOptions,
    sequences: Sequences,
    valid: Option<PathBuf>,
    /// The folder with the configuration and the tokenizer.
    model: PathBuf,
    log: Vec<LogEntry>,
}

impl TrainingRun {
    /// Begins to train the model in a folder, which must be there as long as the run.
    pub async fn begin(
        gpu: &Gpu,
        files: &ModelFiles,
        data: &DataFiles,
        options: RunOptions,
    ) -> Result<Self, TrainError> {
        Self::at(gpu, files, data, options, Position::default(), None).await
    }

    /// Goes on with the run whose last checkpoint is in `folder`. Where that is an adapter, `base` is its model. Of
    /// `options`, only how weights are stored and worked on counts; everything else is as it was, and so is every bit of
    /// what follows. `steps` are all steps of the schedule, if they are others now.
    pub async fn resume(
        gpu: &Gpu,
        folder: &Path,
        base: &Path,
        data: &DataFiles,
        options: RunOptions,
        steps: Option<u64>,
    ) -> Result<Self, TrainError> {
        let state = RunState::read(folder)?;
        let mut update = state.update;
        update.schedule.steps = steps.unwrap_or(update.schedule.steps);
        let RunState { length, sequences, accumulate, ref lora, .. } = state;
        let lora = lora.clone();
        let train = TrainOptions { length, sequences, accumulate, update, lora, ..options.train };
        let options = RunOptions { train, completions_only: state.completions_only, packs: state.packs };
        let is_adapter = options.train.lora.is_some();
        let files = ModelFiles::open(if is_adapter { base } else { folder })?;
        let adapter = match is_adapter {
            true => Some(Adapter::open(folder, &ModelConfig::of_files(&files)?)?),
            false => None,
        };
        let mut run = Self::at(gpu, &files, data, options, state.position, adapter.as_ref()).await?;
        if is_adapter && state.base_blake3 != Some(run.trainer.loaded_blake3().to_string()) {
            return Err(TrainError::OtherBase { path: folder.into(), model: base.into() });
        }
        run.trainer.set_steps(state.step);
        restore_state(&mut run.trainer, folder).await?;
        run.log = log::read(folder)?;
        match run.log.last().map_or(0, |entry| entry.step) == state.step {
            true => Ok(run),
            false => {
                Err(log::damaged(&folder.join(log::FILE), format!("does not end with step {}", state.step)))
            }
        }
    }

    async fn at(
        gpu: &Gpu,
        files: &ModelFiles,
        data: &DataFiles,
        options: RunOptions,
        position: Position,
        adapter: Option<&Adapter>,
    ) -> Result<Self, TrainError> {
        let model = files.folder().to_path_buf();
        let sequences = sequences(&model, &data.train, &options, true, position)?;
        if let Some(valid) = &data.valid {
            // What is wrong with it is said before weights are loaded.
            self::sequences(&model, valid, &options, false, Position::default())?;
        }
        let trainer = Trainer::load_with(gpu, files, options.train.clone(), adapter).await?;
        Ok(Self { trainer, options, sequences, valid: data.valid.clone(), model, log: Vec::new() })
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// How weights are changed.
    pub fn update(&self) -> &UpdateOptions {
        &self.options.train.update
    }

    /// Tokens of a step.
    pub fn step_tokens(&self) -> usize {
        self.options.train.length * self.options.train.step_sequences()
    }

    /// All steps so far.
    pub fn log(&self) -> &[LogEntry] {
        &self.log
    }

    /// What sequences were made of since the run was begun or resumed.
    pub fn counts(&self) -> super::data::SequenceCounts {
        self.sequences.counts()
    }

    /// Makes one step with the next batch.
    pub async fn step(&mut self) -> Result<LogEntry, TrainError> {
        let batch = self
            .options
            .batch(&mut self.sequences, usize::MAX)?
            .ok_or(TrainError::Internal("the data has no end"))?;
        let report = self.trainer.step(&batch).await?;
        let entry = LogEntry {
            step: report.step,
            loss: report.loss,
            counted: report.counted,
            learning_rate: report.learning_rate,
            valid_loss: None,
        };
        self.log.push(entry);
        Ok(entry)
    }

    /// Measures the mean loss of the first 256 sequences of the validation data, and with `notes` writes it in the log; `None`
    /// if there is no such data.
    pub async fn validate(&mut self, notes: bool) -> Result<Option<f64>, TrainError> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let mut sequences = sequences(&self.model, valid, &self.options, false, Position::default())?;
        let (mut sum, mut count, mut left) = (0.0, 0, MOST_VALID_SEQUENCES);
        while left > 0
            && let Some(batch) = self.options.batch(&mut sequences, left)?
        {
            sum += self.trainer.loss(&batch).await? * batch.counted() as f64;
            count += batch.counted();
            left = left.saturating_sub(self.options.train.step_sequences());
        }
        if left == 0 && sequences.next_sequence()?.is_some() {
            ::log::info!(
                "{}: the loss is that of the first {MOST_VALID_SEQUENCES} sequences",
                valid.display()
            );
        }
        let loss = sum / f64::from(count.max(1) as u32);
        if let Some(entry) = self.log.last_mut().filter(|_| notes) {
            entry.valid_loss = Some(loss);
        }
        Ok(Some(loss))
    }

    /// Writes a checkpoint to `out`, in place of what is there: a compressed model folder, or an adapter in the form of
    /// PEFT, with the state of the run.
    pub async fn save(&self, out: &Path) -> Result<(), TrainError> {
        let TrainOptions { length, sequences, accumulate, update, ref lora, .. } = self.options.train;
        let state = RunState {
            format: FORMAT,
            step: self.trainer.steps(),
            position: self.sequences.position(),
            length,
            sequences,
            accumulate,
            completions_only: self.options.completions_only,
            packs: self.options.packs,
            update,
            lora: lora.clone(),
            base_blake3: lora.as_ref().map(|_| self.trainer.loaded_blake3().to_string()),
        };
        Checkpoint { trainer: &self.trainer, state: &state, log: &self.log, model: &self.model }
            .save(out)
            .await
    }
}

impl RunOptions {
    /// The next batch, of `most` sequences at the most; `None` at the end of data that come once.
    fn batch(&self, sequences: &mut Sequences, most: usize) -> Result<Option<Batch>, TrainError> {
        let mut all = Vec::new();
        let count = self.train.step_sequences();
        while all.len() < count.min(most)
            && let Some(sequence) = sequences.next_sequence()?
        {
            all.push(sequence);
        }
        let batch = || Batch::new(&all, self.train.length, count);
        Ok((!all.is_empty()).then(batch))
    }
}

/// The sequences of a file.
fn sequences(
    model: &Path,
    file: &Path,
    options: &RunOptions,
    repeats: bool,
    position: Position,
) -> Result<Sequences, TrainError> {
    let (tokenizer, template) = (Tokenizer::open(model)?, ChatTemplate::open(model)?);
    let encoder = RecordEncoder::new(tokenizer, template, options.completions_only);
    let of_file = SequenceOptions {
        length: options.train.length,
        packs: options.packs,
        seed: repeats.then_some(options.train.update.seed.into()),
    };
    Ok(Sequences::new(Records::open(file)?, encoder, of_file, position)?)
}
