//! What the loss needs of logits, part of the vocabulary by part.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// The target of a token whose loss does not count.
pub const NO_TARGET: u32 = u32::MAX;

/// A part of the vocabulary: `Part` of `shaders/shared/vocabulary_part.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VocabularyPart {
    /// Its first token. Statistics begin anew with 0.
    pub first: u32,
    /// How many: a multiple of 64, unless it is the last part.
    pub rows: u32,
    /// Elements from one token of the batch to the next.
    pub stride: u32,
    /// Zero.
    pub unused: u32,
}

/// What is known of a token's logits.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct LogitStats {
    /// The largest.
    pub largest: f32,
    /// The sum of the exponentials of all of them less the largest.
    pub sum: f32,
    /// The target's; 0 if there is none.
    pub target: f32,
    /// How many were not finite.
    pub not_finite: f32,
}

impl LogitStats {
    /// The token's loss, if its target counts. NaN if a logit is not finite.
    pub fn loss(&self) -> f64 {
        let Self { largest, sum, target, not_finite } = *self;
        if not_finite > 0.0 { f64::NAN } else { WideLogitStats::of([largest, sum, target]).loss() }
    }
}

/// The same in F64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WideLogitStats {
    /// The largest.
    pub largest: f64,
    /// The sum of the exponentials of all of them less the largest.
    pub sum: f64,
    /// The target's; 0 if there is none.
    pub target: f64,
}

impl WideLogitStats {
    fn of([largest, sum, target]: [f32; 3]) -> Self {
        Self { largest: largest.into(), sum: sum.into(), target: target.into() }
    }

    /// The token's loss, if its target counts.
    pub fn loss(&self) -> f64 {
        self.largest + self.sum.ln() - self.target
    }
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("logit_stats")
}

/// Elements of `running` for each token.
pub const RUNNING: usize = 128;

/// Goes on with the statistics of `tokens` tokens.
pub fn dispatch(
    gpu: &Gpu,
    params: &VocabularyPart,
    tokens: usize,
    [logits, targets, stats, running]: [&Buffer; 4],
) -> Result<Dispatch, GpuError> {
    let buffers = [(2, logits), (3, targets), (4, stats), (5, running)];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, [tokens as u32, 1].map(Workgroups::Fixed))
}

/// The twin, for the whole vocabulary.
pub fn cpu(logits: &[f64], target: u32) -> WideLogitStats {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    WideLogitStats {
        largest,
        sum: logits.iter().map(|logit| (logit - largest).exp()).sum(),
        target: logits.get(target as usize).copied().unwrap_or(0.0),
    }
}
