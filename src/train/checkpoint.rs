//! Checkpoints: compressed model folders that can be run as they are, or adapters in the form of PEFT, with the state of
//! the run beside the weights.
//!
//! A checkpoint is written whole to a folder beside its place, and compressed or copied from there. So its place has the last
//! whole checkpoint at any moment, or one that the next run puts in place (see `archive/output_folder`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data::Position;
use super::error::TrainError;
use super::log::{self, LogEntry, damaged};
use super::lora::LoraOptions;
use super::optimizer::UpdateOptions;
use super::trainer::Trainer;
use crate::archive::{self, ArchiveError, Options, finish_interrupted};
use crate::model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};

/// The name of the state in a checkpoint.
const STATE: &str = "trainer.json";

/// The name of the file of moments. It is a safetensors file, but no weights of the model.
const MOMENTS: &str = "trainer.moments";

/// Which form of state this is.
const FORMAT: u32 = 1;

/// The state of a run, without weights and moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunState {
    pub format: u32,
    pub step: u64,
    /// Where the next batch begins.
    pub position: Position,
    pub length: usize,
    pub sequences: usize,
    pub completions_only: bool,
    pub packs: bool,
    pub update: UpdateOptions,
    /// The adapters that are trained, if it is not the model itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraOptions>,
}

impl RunState {
    pub fn new(step: u64, position: Position, update: UpdateOptions) -> Self {
        let (length, sequences, completions_only, packs) = (0, 0, false, true);
        Self {
            format: FORMAT,
            step,
            position,
            length,
            sequences,
            completions_only,
            packs,
            update,
            lora: None,
        }
    }

    /// Reads the state in a folder, after putting in place what an interrupted run left.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        finish_interrupted(folder)?;
        let path = folder.join(STATE);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            damaged(&path, format!("{error}; only a folder that `bantam train` wrote can be resumed"))
        })?;
        let state: Self = serde_json::from_str(&text).map_err(|error| damaged(&path, error.to_string()))?;
        match state.format {
            FORMAT => Ok(state),
            other => {
                Err(damaged(&path, format!("format {other} is of another version; this one knows {FORMAT}")))
            }
        }
    }
}

/// What a checkpoint is made of.
pub(super) struct Checkpoint<'a> {
    pub trainer: &'a Trainer,
    pub state: &'a RunState,
    pub log: &'a [LogEntry],
    /// The folder with the configuration and the tokenizer.
    pub model: &'a Path,
}

impl Checkpoint<'_> {
    /// Writes the checkpoint to `out`, in place of what is there.
    pub async fn save(&self, out: &Path) -> Result<(), TrainError> {
        finish_interrupted(out)?;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let io = |error| ArchiveError::io("create a folder in", parent)(error);
        let folder = tempfile::Builder::new().prefix(".bantam-train-").tempdir_in(parent).map_err(io)?;
        let is_adapter = self.state.lora.is_some();
        if let Some(lora) = &self.state.lora {
            self.write_adapter(folder.path(), lora).await?;
        } else {
            self.copy_model_files(folder.path())?;
            self.write_weights(&folder.path().join("model.safetensors")).await?;
        }
        if self.trainer.has_moments() {
            self.write_moments(&folder.path().join(MOMENTS)).await?;
        }
        let text = |error: serde_json::Error| damaged(&folder.path().join(STATE), error.to_string());
        write(&folder.path().join(log::FILE), log::lines(self.log).map_err(text)?.as_bytes())?;
        let state = serde_json::to_string_pretty(self.state).map_err(text)? + "\n";
        write(&folder.path().join(STATE), state.as_bytes())?;
        match is_adapter {
            true => archive::publish_folder(folder.path(), out, &Options::REPLACE)?,
            false => drop(archive::compress(folder.path(), Some(out), &Options::REPLACE, &())?),
        }
        Ok(())
    }

    /// Writes an adapter as PEFT has it.
    async fn write_adapter(&self, to: &Path, lora: &LoraOptions) -> Result<(), TrainError> {
        let path = to.join(ADAPTER_CONFIG);
        let targets: Vec<&str> = lora.targets.iter().map(|target| target.name()).collect();
        let config = serde_json::json!({
            "base_model_name_or_path": self.model.display().to_string(),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "lora_alpha": lora.alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": lora.rank,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        });
        let text =
            serde_json::to_string_pretty(&config).map_err(|error| damaged(&path, error.to_string()))?;
        write(&path, (text + "\n").as_bytes())?;
        let tensors = self.trainer.trained();
        let mut file = TensorWriter::create(&to.join(ADAPTER_WEIGHTS), "F32", 4, &tensors)?;
        for (name, _) in &tensors {
            file.write(&self.trainer.read_bytes(name).await?)?;
        }
        file.finish()
    }

    /// Copies what describes the model: configuration, tokenizer, templates, licences.
    fn copy_model_files(&self, to: &Path) -> Result<(), TrainError> {
        let io = ArchiveError::io("list", self.model);
        for entry in std::fs::read_dir(self.model).map_err(io)? {
            let path = entry.map_err(ArchiveError::io("list", self.model))?.path();
            let Some(name) = path.file_name().filter(|_| path.is_file() && describes_a_model(&path)) else {
                continue;
            };
            std::fs::copy(&path, to.join(name)).map_err(ArchiveError::io("copy", &path))?;
        }
        Ok(())
    }

    async fn write_weights(&self, path: &Path) -> Result<(), TrainError> {
        let tensors = self.trainer.trained();
        let mut file = TensorWriter::create(path, "BF16", 2, &tensors)?;
        for (name, _) in &tensors {
            file.write(&self.trainer.read_bytes(name).await?)?;
        }
        file.finish()
    }

    async fn write_moments(&self, path: &Path) -> Result<(), TrainError> {
        let pairs = |(name, mut shape): (String, Vec<usize>)| {
            shape.push(2);
            (name, shape)
        };
        let tensors: Vec<_> = self.trainer.trained().into_iter().map(pairs).collect();
        let mut file = TensorWriter::create(path, "F32", 4, &tensors)?;
        for (name, _) in &tensors {
            let moments = self.trainer.read_moments(name).await?.unwrap_or_default();
            let bytes = moments.as_flattened().iter().flat_map(|moment| moment.to_le_bytes());
            file.write(&bytes.collect::<Vec<u8>>())?;
        }
        file.finish()
    }
}

/// Gives a trainer the moments that a checkpoint has.
pub(super) async fn restore_moments(trainer: &Trainer, folder: &Path) -> Result<(), TrainError> {
    let path = folder.join(MOMENTS);
    let file = std::fs::read(&path).map_err(|error| damaged(&path, error.to_string()))?;
    let tensors =
        safetensors::SafeTensors::deserialize(&file).map_err(|error| damaged(&path, error.to_string()))?;
    for (name, shape) in trainer.trained() {
        let tensor = tensors.tensor(&name).map_err(|error| damaged(&path, error.to_string()))?;
        let count: usize = shape.iter().product();
        if tensor.dtype() != safetensors::Dtype::F32 || tensor.data().len() != 8 * count {
            return Err(damaged(&path, format!("{name}: not two moments for each of {count} weights")));
        }
        let of_bytes = |bytes: &[u8; 8]| {
            let [a, b, c, d, e, f, g, h] = *bytes;
            [f32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h])]
        };
        let moments: Vec<[f32; 2]> = tensor.data().as_chunks().0.iter().map(of_bytes).collect();
        if moments.as_flattened().iter().any(|moment| !moment.is_finite()) {
            return Err(damaged(&path, format!("{name}: a moment is not a finite number")));
        }
        trainer.write_moments(&name, &moments).await?;
    }
    Ok(())
}

/// Whether a file of a model's folder describes it, and is neither weights nor the state of a run.
fn describes_a_model(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let is_text = ["json", "jinja", "txt", "model", "md"].contains(&kind) || name.starts_with("LICENSE");
    is_text && !name.ends_with(".index.json") && name != STATE && !name.starts_with('.')
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    Ok(std::fs::write(path, bytes).map_err(ArchiveError::io("write", path))?)
}

/// Writes a safetensors file, tensor by tensor.
struct TensorWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl TensorWriter {
    /// Begins a file of tensors of one type, with so many bytes an element, which follow in this order.
    fn create(
        path: &Path,
        dtype: &str,
        element: usize,
        tensors: &[(String, Vec<usize>)],
    ) -> Result<Self, TrainError> {
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
        let mut at = 0;
        for (name, shape) in tensors {
            let end = at + element * shape.iter().product::<usize>();
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
            header.insert(name.clone(), entry);
            at = end;
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let file = File::create(path).map_err(ArchiveError::io("create", path))?;
        let mut writer = Self { file: BufWriter::new(file), path: path.into() };
        writer.write(&(header.len() as u64).to_le_bytes())?;
        writer.write(&header)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        Ok(self.file.write_all(bytes).map_err(ArchiveError::io("write", &self.path))?)
    }

    fn finish(mut self) -> Result<(), TrainError> {
        Ok(self.file.flush().map_err(ArchiveError::io("write", &self.path))?)
    }
}
