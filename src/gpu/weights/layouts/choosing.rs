//! The choices for weights in each layout.

use super::{Format, Transcoded};
use crate::gpu::{Candidates, Invocations, InvocationsByStorage, KernelChoices, WidenFrom};

impl InvocationsByStorage {
    /// The number of invocations for weights in `format`.
    pub fn of(&self, format: Format) -> Invocations {
        format.layout().invocations(self)
    }
}

impl Candidates {
    /// For products with one token, with weights in `format`.
    pub fn for_matvec(&self, format: Format) -> &'static [Invocations] {
        format.layout().own_candidates(self).unwrap_or(self.matvec)
    }

    /// For products with a batch.
    pub fn for_matmul(&self, format: Format) -> &'static [Invocations] {
        format.layout().own_candidates(self).unwrap_or(self.matmul)
    }
}

impl KernelChoices {
    /// Whether weights in `format` are widened for a batch of this many tokens.
    pub fn widens(&self, format: Format, tokens: usize) -> bool {
        widens_from(format.layout().widen_from(&self.widen_from), tokens)
    }

    /// The same for weights that are transcoded, or else stay in dense tiles.
    pub(in crate::gpu) fn widens_compressed(&self, transcoded: Option<Transcoded>, tokens: usize) -> bool {
        let WidenFrom { dense, fast, tiered } = self.widen_from;
        let from = match transcoded {
            None => dense,
            Some(Transcoded::Fast) => fast,
            Some(Transcoded::Tiered) => tiered,
        };
        widens_from(from, tokens)
    }
}

fn widens_from(from: usize, tokens: usize) -> bool {
    tokens > 1 && tokens >= from
}
