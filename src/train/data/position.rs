//! Where to go on in a file of records.

use serde::{Deserialize, Serialize};

/// The next token of a file that is read in an order of its own in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Position {
    /// How often all records have been read.
    pub epoch: u64,
    /// Records of this epoch that have been read.
    pub record: usize,
    /// Tokens of the next one that have been read.
    pub token: usize,
}
