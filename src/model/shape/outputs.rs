//! How many tokens are computed at once, and which of them get logits.

/// Tokens of a prompt that are computed at once: a multiple of the sixteen that `matmul` multiplies at a
/// time.
pub(crate) const BATCH: usize = 64;

/// Which tokens' logits a session computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// The last token's.
    Last,
    /// Every token's.
    All,
}
