//! What a run says about each step: lines of `log.jsonl`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::TrainError;

/// The name of the log in a checkpoint.
pub(super) const FILE: &str = "log.jsonl";

/// A step. Nothing in it depends on time or machine: a run that was resumed has the same lines as one that was not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// The step, from 1.
    pub step: u64,
    /// The mean loss of its tokens before the step, in nats.
    pub loss: f64,
    /// How many tokens counted.
    pub counted: usize,
    /// The learning rate.
    pub learning_rate: f32,
    /// The mean loss of the validation data after the step, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub valid_loss: Option<f64>,
}

/// The lines of a log.
pub(super) fn lines(entries: &[LogEntry]) -> Result<String, serde_json::Error> {
    let line = |entry: &LogEntry| Ok(serde_json::to_string(entry)? + "\n");
    entries.iter().map(line).collect()
}

/// Reads the log in a folder.
pub(super) fn read(folder: &Path) -> Result<Vec<LogEntry>, TrainError> {
    let path = folder.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| damaged(&path, error.to_string()))?;
    let entry = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| damaged(&path, format!("line {}: {error}", i + 1)))
    };
    text.lines().enumerate().map(entry).collect()
}

/// An error about a file of a checkpoint.
pub(super) fn damaged(path: &Path, what: String) -> TrainError {
    TrainError::Checkpoint { path: PathBuf::from(path), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that is resumed writes the lines before it anew.
    #[test]
    fn losses_come_back_in_every_bit() {
        let mut bits = 1u64;
        let mut number = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            1.0 + (bits >> 12) as f64 / (1u64 << 50) as f64
        };
        let entry = |step| {
            let (loss, valid_loss) = (number(), Some(number()));
            LogEntry { step, loss, counted: 1, learning_rate: loss as f32 / 999.0, valid_loss }
        };
        let entries: Vec<LogEntry> = (0..2000).map(entry).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), lines(&entries).unwrap()).unwrap();
        assert!(read(folder.path()).unwrap() == entries);
    }
}
