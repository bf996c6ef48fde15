//! A measurement, or why it was skipped.

use serde::Serialize;

/// A measurement, or why it was skipped.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<T> {
    /// The measurement.
    Measured(T),
    /// Why it was skipped.
    Skipped(String),
}

impl<T> Outcome<T> {
    pub(super) fn skipped(why: &impl ToString) -> Self {
        Self::Skipped(why.to_string())
    }
}
