//! The tokens of a step.

use super::data::Sequence;
use crate::gpu::kernels::training::logit_stats::NO_TARGET;

/// Sequences of tokens that a step learns from, all of one length. Shorter ones are followed by tokens that nothing
/// sees and that do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Tokens of a sequence.
    pub length: usize,
    /// The tokens, sequence by sequence.
    pub ids: Vec<u32>,
    /// What should follow each of them, or [`NO_TARGET`].
    pub targets: Vec<u32>,
}

impl Batch {
    /// A batch of `sequences`, none of which has more than `length` tokens. Where there are fewer than `count`, the
    /// others are empty.
    pub fn new(sequences: &[Sequence], length: usize, count: usize) -> Self {
        let mut batch =
            Self { length, ids: vec![0; length * count], targets: vec![NO_TARGET; length * count] };
        for (i, sequence) in sequences.iter().take(count).enumerate() {
            for (at, (&id, target)) in
                (i * length..).zip(sequence.inputs.iter().zip(&sequence.targets).take(length))
            {
                batch.ids[at] = id;
                batch.targets[at] = target.unwrap_or(NO_TARGET);
            }
        }
        batch
    }

    /// The batch in so many parts, each with as many sequences.
    pub(super) fn parts(&self, count: usize) -> impl Iterator<Item = Self> {
        let each = (self.ids.len() / count.max(1)).max(1);
        let length = self.length;
        self.ids.chunks(each).zip(self.targets.chunks(each)).map(move |(ids, targets)| Self {
            length,
            ids: ids.into(),
            targets: targets.into(),
        })
    }

    /// How many tokens count towards the loss.
    pub fn counted(&self) -> usize {
        self.targets.iter().filter(|&&target| target != NO_TARGET).count()
    }
}
