//! How many tokens are computed at once, and which of them get logits.

/// Tokens of a prompt that are computed at once. A multiple of the sixteen that `matmul` takes.
pub(crate) const BATCH: usize = 64;

/// Which tokens' logits a session computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// Those of the last token.
    Last,
    /// Those of every token.
    All,
}
