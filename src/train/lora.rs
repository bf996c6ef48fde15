//! Low-rank adapters beside frozen weights (Hu and others, "LoRA: low-rank adaptation of large language models", 2021).

use serde::{Deserialize, Serialize};

use crate::model::AdapterTarget;

/// Which adapters are trained, instead of the model's own weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraOptions {
    /// Rows of A, and columns of B.
    pub rank: usize,
    /// The adapter's product is multiplied by this, divided by the rank.
    pub alpha: f32,
    /// The products of each layer that get an adapter.
    pub targets: Vec<AdapterTarget>,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, targets: AdapterTarget::ALL.to_vec() }
    }
}

impl LoraOptions {
    /// What the adapter's product is multiplied by.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}
