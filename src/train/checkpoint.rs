//! Checkpoints: compressed model folders that can be run as they are, or adapters in the form of PEFT, with the state of
//! the run beside the weights.
//!
//! A checkpoint is written whole to a folder beside its place, and compressed or copied from there. So its place has the last
//! whole checkpoint at any moment, or one that the next run puts in place (see `archive/output_folder`).

use std::path::Path;

use half::bf16;
use serde::{Deserialize, Serialize};

use super::data::Position;
use super::error::TrainError;
use super::log::{self, LogEntry, damaged};
use super::lora::LoraOptions;
use super::optimizer::UpdateOptions;
use super::plain_model::{STATE, TensorShape, TensorWriter, copy_description, folder_beside};
use super::trainer::Trainer;
use crate::archive::{self, ArchiveError, Options, finish_interrupted};
use crate::model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use crate::tensor::Dtype;

/// The name of the file of what the optimizer keeps. It is a safetensors file, but no weights of the model.
const MOMENTS: &str = "trainer.moments";

/// Which form of state this is.
pub(super) const FORMAT: u32 = 1;

/// The state of a run, without weights and moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunState {
    pub format: u32,
    pub step: u64,
    /// Where the next batch begins.
    pub position: Position,
    pub length: usize,
    pub sequences: usize,
    #[serde(default = "one")]
    pub accumulate: usize,
    pub completions_only: bool,
    pub packs: bool,
    pub update: UpdateOptions,
    /// The adapters that are trained, if it is not the model itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraOptions>,
    /// A hash of the weights that the adapters are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_blake3: Option<String>,
}

/// Batches of a step in a state that does not say how many.
fn one() -> usize {
    1
}

impl RunState {
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
        let folder = folder_beside(out)?;
        let is_adapter = self.state.lora.is_some();
        if let Some(lora) = &self.state.lora {
            self.write_adapter(folder.path(), lora).await?;
        } else {
            copy_description(self.model, folder.path())?;
            self.write_weights(&folder.path().join("model.safetensors")).await?;
        }
        self.write_moments(&folder.path().join(MOMENTS)).await?;
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
        let mut file = TensorWriter::create(&to.join(ADAPTER_WEIGHTS), &of_type(&tensors, Dtype::F32))?;
        for (name, _) in &tensors {
            file.write(&self.trainer.read_bytes(name).await?)?;
        }
        file.finish()
    }

    async fn write_weights(&self, path: &Path) -> Result<(), TrainError> {
        let tensors = self.trainer.trained();
        let mut file = TensorWriter::create(path, &of_type(&tensors, Dtype::BF16))?;
        for (name, _) in &tensors {
            file.write(&self.trainer.read_bytes(name).await?)?;
        }
        file.finish()
    }

    /// Writes what the optimizer keeps, if it keeps anything.
    async fn write_moments(&self, path: &Path) -> Result<(), TrainError> {
        let kept = |(name, shape): (String, Vec<usize>)| {
            self.trainer.state_shape(&shape).map(|(dtype, shape)| TensorShape { name, dtype, shape })
        };
        let tensors: Vec<_> = self.trainer.trained().into_iter().filter_map(kept).collect();
        if tensors.is_empty() {
            return Ok(());
        }
        let mut file = TensorWriter::create(path, &tensors)?;
        for TensorShape { name, dtype, .. } in &tensors {
            let numbers = self.trainer.read_state(name).await?.unwrap_or_default();
            let bytes: Vec<u8> = match dtype {
                // They are BF16 already.
                Dtype::BF16 => numbers.iter().flat_map(|&n| bf16::from_f32(n).to_le_bytes()).collect(),
                _ => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
            };
            file.write(&bytes)?;
        }
        file.finish()
    }
}

/// Gives a trainer what its optimizer kept, from a checkpoint.
pub(super) async fn restore_state(trainer: &mut Trainer, folder: &Path) -> Result<(), TrainError> {
    let kept: Vec<_> = trainer
        .trained()
        .into_iter()
        .filter_map(|(name, shape)| Some((name, trainer.state_shape(&shape)?)))
        .collect();
    if kept.is_empty() {
        return Ok(());
    }
    let path = folder.join(MOMENTS);
    let file = std::fs::read(&path).map_err(|error| damaged(&path, error.to_string()))?;
    let tensors =
        safetensors::SafeTensors::deserialize(&file).map_err(|error| damaged(&path, error.to_string()))?;
    for (name, (dtype, shape)) in kept {
        let tensor = tensors.tensor(&name).map_err(|error| damaged(&path, error.to_string()))?;
        if tensor.dtype().to_string() != dtype.to_string() || tensor.shape() != shape {
            let found = format!("{} {:?}", tensor.dtype(), tensor.shape());
            return Err(damaged(&path, format!("{name}: {found}, and not {dtype} {shape:?}")));
        }
        let numbers: Vec<f32> = match dtype {
            Dtype::BF16 => {
                tensor.data().as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect()
            }
            _ => tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        };
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(damaged(&path, format!("{name}: a moment is not a finite number")));
        }
        trainer.write_state(&name, &numbers).await?;
    }
    trainer.record()
}

/// Tensors that are all of one type.
fn of_type(tensors: &[(String, Vec<usize>)], dtype: Dtype) -> Vec<TensorShape> {
    tensors
        .iter()
        .map(|(name, shape)| TensorShape { name: name.clone(), dtype, shape: shape.clone() })
        .collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    Ok(std::fs::write(path, bytes).map_err(ArchiveError::io("write", path))?)
}
