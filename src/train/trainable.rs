//! What can be trained: options that go together, and with the model.

use super::error::TrainError;
use super::optimizer::{MomentsDtype, Optimizer};
use super::options::TrainOptions;
use crate::model::ModelConfig;

/// Most tokens of a step: their numbers are in host memory.
const MOST_STEP_TOKENS: usize = 1 << 26;

/// An error if the trainer does not compute something that the model has.
pub(super) fn require_trainable(config: &ModelConfig, options: &TrainOptions) -> Result<(), TrainError> {
    require_consistent(options)?;
    if options.length > config.max_positions {
        let found = format!("sequences of {} tokens", options.length);
        return Err(TrainError::WrongBatch {
            found,
            expected: format!("{} positions at the most", config.max_positions),
        });
    }
    if options.length == 0 || options.step_sequences() == 0 {
        let found = format!("{} sequences of {}", options.step_sequences(), options.length);
        return Err(TrainError::WrongBatch { found, expected: "at least one token".into() });
    }
    let sequences = options.step_sequences();
    if options.length.checked_mul(sequences).is_none_or(|tokens| tokens > MOST_STEP_TOKENS) {
        let found = format!("{sequences} sequences of {}", options.length);
        let expected = format!("{MOST_STEP_TOKENS} tokens at the most");
        return Err(TrainError::WrongBatch { found, expected });
    }
    Ok(())
}

/// An error if options of updates do not go together.
fn require_consistent(options: &TrainOptions) -> Result<(), TrainError> {
    let update = &options.update;
    let is_adam = matches!(update.optimizer, Optimizer::AdamW { .. });
    if options.accumulate > 1 && options.lora.is_none() {
        let what = "gradients of several batches add up for adapters only: those of all weights are never all there. \
                    More sequences in a batch do the same";
        return Err(TrainError::Options { what });
    }
    let what = match (update.moments, update.clip) {
        (MomentsDtype::Bf16, _) if !is_adam => "only AdamW has moments that could be BF16",
        (MomentsDtype::Bf16, _) if options.lora.is_some() => {
            "adapters are trained with moments of F32; they are small"
        }
        (_, Some(_)) if matches!(update.optimizer, Optimizer::AdaLomo { .. }) => {
            "AdaLomo limits the change of each tensor by itself; it takes no limit for gradients"
        }
        (_, Some(clip)) if !(clip > 0.0 && clip.is_finite()) => {
            "gradients can only be limited to a finite size above 0"
        }
        _ => return Ok(()),
    };
    Err(TrainError::Options { what })
}
