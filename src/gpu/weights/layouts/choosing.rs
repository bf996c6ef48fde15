//! What is chosen for weights that are stored in one way or another.

use super::format::Format;
use crate::gpu::{Candidates, Invocations, InvocationsByStorage, KernelChoices, WidenFrom};

impl InvocationsByStorage {
    /// As many as there are for weights in `format`.
    pub fn of(&self, format: Format) -> Invocations {
        match format {
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => self.raw,
            Format::Dense(_) => self.dense,
            Format::Fast(_) => self.fast,
        }
    }
}

impl Candidates {
    /// For products with one token, with weights in `format`.
    pub fn for_matvec(&self, format: Format) -> &'static [Invocations] {
        self.dense.filter(|_| matches!(format, Format::Dense(_))).unwrap_or(self.matvec)
    }

    /// For products with a batch.
    pub fn for_matmul(&self, format: Format) -> &'static [Invocations] {
        self.dense.filter(|_| matches!(format, Format::Dense(_))).unwrap_or(self.matmul)
    }
}

impl KernelChoices {
    /// Whether weights in `format` are widened for a batch of so many tokens.
    pub fn widens(&self, format: Format, tokens: usize) -> bool {
        match format {
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => false,
            Format::Dense(_) => self.widens_compressed(false, tokens),
            Format::Fast(_) => self.widens_compressed(true, tokens),
        }
    }

    /// The same of weights that are in the fast layout or else in dense tiles.
    pub(in crate::gpu) fn widens_compressed(&self, fast: bool, tokens: usize) -> bool {
        let WidenFrom { dense, fast: of_fast } = self.widen_from;
        tokens > 1 && tokens >= if fast { of_fast } else { dense }
    }
}
