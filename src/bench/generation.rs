//! Measures how many tokens a second a whole model computes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::error::BenchError;
use super::form::Form;
use super::machine::available_memory;
use super::outcome::Outcome;
use super::timing::{Patience, Timing};
use super::{Bench, Effort, Size};
use crate::archive::{self, ModelFiles, Options, WeightSource};
use crate::model::{Model, Outputs, Session};

/// The results of a model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelFigures {
    /// The model's name.
    pub name: String,
    /// Whether its weights are random.
    pub synthetic: bool,
    /// Bytes of the uncompressed weights.
    pub original_bytes: u64,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Maximum tokens computed one by one after the prompt.
    pub generated: usize,
    /// The results of each form.
    pub forms: Vec<FormOfModel>,
}

/// A model in one form.
#[derive(Debug, Clone, Serialize)]
pub struct FormOfModel {
    /// The form.
    pub form: &'static str,
    /// The figures, or why there are none.
    #[serde(flatten)]
    pub outcome: Outcome<FormFigure>,
}

/// The figures of a model in one form.
#[derive(Debug, Clone, Serialize)]
pub struct FormFigure {
    /// Bytes of weights on the device.
    pub weight_bytes: u64,
    /// Bytes of all buffers on the device, including those of a session.
    pub device_bytes: u64,
    /// Dispatches to compute one token.
    pub dispatches_a_token: usize,
    /// Time to read, check and upload the weights.
    pub load_seconds: f64,
    /// Time to create a session and compute for the first time, including compiling the kernels.
    pub first_seconds: f64,
    /// Time of the whole prompt.
    pub prefill: Timing,
    /// Time of one token after the prompt.
    pub token: Timing,
    /// Prompt tokens a second.
    pub prefill_tokens_per_s: f64,
    /// Tokens a second, computed one by one.
    pub tokens_per_s: f64,
    /// Ratio of the prompt speed to the first form's.
    pub prefill_ratio: Option<f64>,
    /// Ratio of the speed of single tokens to the first form's.
    pub ratio: Option<f64>,
}

/// The logits that every form must reproduce.
type Expected = Option<(&'static str, Vec<f32>)>;

impl Bench<'_> {
    /// Measures the model at `path`, a folder or a file, compressed or not. An uncompressed model is first
    /// compressed into a temporary folder.
    pub async fn model(&mut self, path: &Path) -> Result<ModelFigures, BenchError> {
        let files = ModelFiles::open(path)?;
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
        if files.sources().iter().any(|source| matches!(source, WeightSource::Compressed(_))) {
            return self.forms(name, false, &files).await;
        }
        let folder = tempfile::tempdir()?;
        let compressed = ModelFiles::open(&self.compress(&files, folder.path())?)?;
        self.forms(name, false, &compressed).await
    }

    /// Measures a model of this size with Gaussian weights, made in a temporary folder.
    pub async fn synthetic(&mut self, size: &Size) -> Result<ModelFigures, BenchError> {
        let folder = tempfile::tempdir()?;
        let (plain, packed) = (folder.path().join("plain"), folder.path().join("packed"));
        std::fs::create_dir(&plain)?;
        size.write(&plain, self.progress)?;
        archive::compress(&plain, Some(&packed), &Options::default(), self.progress)?;
        std::fs::remove_dir_all(&plain)?;
        self.forms(size.name.into(), true, &ModelFiles::open(&packed)?).await
    }

    /// Compresses a model into `folder` and returns the path to open.
    fn compress(&self, files: &ModelFiles, folder: &Path) -> Result<PathBuf, BenchError> {
        let options = Options::default();
        if files.path().is_dir() {
            let output = folder.join("compressed");
            archive::compress(files.path(), Some(&output), &options, self.progress)?;
            return Ok(output);
        }
        let output = folder.join("model.bantam.safetensors");
        archive::compress(files.path(), Some(&output), &options, self.progress)?;
        let config = files.folder().join("config.json");
        // If the file is missing, loading the model reports that.
        if config.exists() {
            std::fs::copy(config, folder.join("config.json"))?;
        }
        Ok(output)
    }

    async fn forms(
        &mut self,
        name: String,
        synthetic: bool,
        files: &ModelFiles,
    ) -> Result<ModelFigures, BenchError> {
        let original_bytes = files.weights().map(|w| w.original_len as u64).fold(0, u64::saturating_add);
        let (mut forms, mut expected): (Vec<FormOfModel>, Expected) = (Vec::new(), None);
        let mut first: Option<[f64; 2]> = None;
        for form in Form::ALL {
            let outcome = match self.form(form, files, &mut expected).await {
                Err(error) if error.is_too_large() => Outcome::skipped(&error),
                figure => {
                    let mut figure = figure?;
                    let speeds = [figure.prefill_tokens_per_s, figure.tokens_per_s];
                    // Without figures of the first form, there is no reference.
                    if form == Form::ALL[0] {
                        first = Some(speeds);
                    }
                    figure.prefill_ratio = first.map(|first| speeds[0] / first[0]);
                    figure.ratio = first.map(|first| speeds[1] / first[1]);
                    Outcome::Measured(figure)
                }
            };
            forms.push(FormOfModel { form: form.name(), outcome });
        }
        let Effort { prompt, generated, .. } = self.effort;
        Ok(ModelFigures { name, synthetic, original_bytes, prompt, generated, forms })
    }

    /// Measures one form. No other is on the device, so a model needs no more memory than in normal use.
    async fn form(
        &mut self,
        form: Form,
        files: &ModelFiles,
        expected: &mut Expected,
    ) -> Result<FormFigure, BenchError> {
        self.check_memory(form, files)?;
        let began = Instant::now();
        let model = Arc::new(Model::load(&self.gpu, files, &form.load_options(), self.progress).await?);
        // The speed of streamed layers would depend on the file that they come from.
        if let Some(plan) = model.residency().filter(|plan| !plan.is_resident()) {
            let available = plan.budget.unwrap_or(0);
            return Err(BenchError::NotEnoughMemory { wanted: form.bytes_of(files), available });
        }
        let load_seconds = began.elapsed().as_secs_f64();
        let mut sequence = Sequence::new(&model, &self.effort)?;
        let logits = sequence.first().await?;
        let first_seconds = began.elapsed().as_secs_f64() - load_seconds;
        let (first, same) = &*expected.get_or_insert_with(|| (form.name(), logits.clone()));
        if !logits.iter().map(|l| l.to_bits()).eq(same.iter().map(|l| l.to_bits())) {
            return Err(BenchError::Different { what: "logits".into(), form: form.name(), first });
        }
        let (mut prefill, mut token) = (Vec::new(), Vec::new());
        let patience = Patience::new(self.effort.runs, self.effort.generation);
        while patience.another(token.len()) {
            self.check()?;
            let [of_prompt, of_token] = sequence.run(&patience).await?;
            prefill.push(of_prompt);
            token.push(of_token);
        }
        let (prefill, token) = (Timing::of(prefill), Timing::of(token));
        Ok(FormFigure {
            weight_bytes: model.weight_bytes(),
            device_bytes: self.gpu.memory().used(),
            dispatches_a_token: sequence.session.dispatches_a_token(),
            load_seconds,
            first_seconds,
            prefill,
            token,
            prefill_tokens_per_s: prefill.rate(sequence.prompt.len() as f64),
            tokens_per_s: token.rate(1.0),
            prefill_ratio: None,
            ratio: None,
        })
    }

    /// Devices that use the host's memory do not report when it runs out: the system kills the process. So
    /// check before loading.
    fn check_memory(&self, form: Form, files: &ModelFiles) -> Result<(), BenchError> {
        let shares = matches!(
            self.gpu.device().adapter_info().device_type,
            wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu
        );
        let wanted = form.bytes_of(files);
        match available_memory() {
            Some(available) if shares && wanted > available => {
                Err(BenchError::NotEnoughMemory { wanted, available })
            }
            _ => Ok(()),
        }
    }
}

/// A session that computes the same random tokens repeatedly.
struct Sequence {
    session: Session,
    prompt: Vec<u32>,
    next: Vec<u32>,
}

impl Sequence {
    fn new(model: &Arc<Model>, effort: &Effort) -> Result<Self, BenchError> {
        let most = model.config().max_positions.max(2);
        let prompt = effort.prompt.min(most - 1);
        let generated = effort.generated.min(most - prompt);
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut tokens = |count: usize| -> Vec<u32> {
            (0..count).map(|_| (random.next_u64() % model.config().vocab as u64) as u32).collect()
        };
        let (prompt, next) = (tokens(prompt), tokens(generated));
        let session = Session::new(model, prompt.len() + next.len(), Outputs::Last)?;
        Ok(Self { session, prompt, next })
    }

    /// Computes the prompt and one token, and returns the logits of both.
    async fn first(&mut self) -> Result<Vec<f32>, BenchError> {
        let mut logits = self.session.forward(&self.prompt, Outputs::Last).await?;
        logits.extend(self.session.forward(&self.next[..1], Outputs::Last).await?);
        Ok(logits)
    }

    /// Seconds of the prompt and of one token after it: the mean of all tokens, or of those that `patience`
    /// allows.
    async fn run(&mut self, patience: &Patience) -> Result<[f64; 2], BenchError> {
        self.session.rewind(0);
        let began = Instant::now();
        self.session.forward(&self.prompt, Outputs::Last).await?;
        let prefill = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let mut done = 0;
        while done < self.next.len() && (done == 0 || !patience.is_over()) {
            self.session.forward(&self.next[done..=done], Outputs::Last).await?;
            done += 1;
        }
        Ok([prefill, began.elapsed().as_secs_f64() / done as f64])
    }
}
