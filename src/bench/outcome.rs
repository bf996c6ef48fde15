//! A figure, or why there is none.

use serde::Serialize;

/// A figure, or why there is none.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<T> {
    /// What was measured.
    Measured(T),
    /// Why nothing was.
    Skipped(String),
}

impl<T> Outcome<T> {
    pub(super) fn skipped(why: &impl ToString) -> Self {
        Self::Skipped(why.to_string())
    }
}
