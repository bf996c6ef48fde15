//! The number of invocations that multiply a row block.

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::variant::Variant;
use crate::codec::grid::LANES;

/// The number of invocations of a workgroup for its row block of 64 rows. With fewer, activations are read
/// fewer times. More than 64 share the columns of each row, so that a small matrix can occupy a large device.
/// Products give the same bits with any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Invocations(u32);

impl Invocations {
    /// 8.
    pub const EIGHT_ROWS_EACH: Self = Self(8);
    /// 16.
    pub const FOUR_ROWS_EACH: Self = Self(16);
    /// 32.
    pub const TWO_ROWS_EACH: Self = Self(32);
    /// 64.
    pub const ONE_ROW_EACH: Self = Self(64);
    /// 128.
    pub const TWO_A_ROW: Self = Self(128);
    /// 256, the maximum that every device allows in a workgroup.
    pub const FOUR_A_ROW: Self = Self(256);
    /// All possible numbers.
    pub const ALL: [Self; 6] = [
        Self::EIGHT_ROWS_EACH,
        Self::FOUR_ROWS_EACH,
        Self::TWO_ROWS_EACH,
        Self::ONE_ROW_EACH,
        Self::TWO_A_ROW,
        Self::FOUR_A_ROW,
    ];

    /// Rows per invocation.
    pub(in crate::gpu) fn rows_each(self) -> u32 {
        (LANES as u32 / self.0).max(1)
    }

    /// Invocations per row.
    pub(in crate::gpu) fn splits(self) -> u32 {
        (self.0 / LANES as u32).max(1)
    }

    /// The same number, limited so that invocations do not share a row.
    pub(in crate::gpu) fn without_splits(self) -> Self {
        Self(self.0.min(LANES as u32))
    }

    /// The same number, limited so that at most one invocation shares a row for each of its `spans`.
    pub(in crate::gpu) fn for_spans(self, spans: u32) -> Self {
        let most = spans.max(1).next_power_of_two().saturating_mul(LANES as u32);
        Self(self.0.min(most))
    }

    /// Sets the number in a kernel that imports `shared/matrix.wgsl`.
    pub(in crate::gpu) fn apply(self, variant: Variant) -> Variant {
        variant.choose(Choice::Rows(self.rows_each()))
    }
}

/// There are no kernels with this number of invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("64 rows can have 8, 16, 32, 64, 128 or 256 invocations, not {0}")]
pub struct NoSuchInvocations(pub u32);

impl TryFrom<u32> for Invocations {
    type Error = NoSuchInvocations;

    fn try_from(count: u32) -> Result<Self, NoSuchInvocations> {
        Self::ALL.into_iter().find(|all| all.0 == count).ok_or(NoSuchInvocations(count))
    }
}

impl std::fmt::Display for Invocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Invocations> for u32 {
    fn from(invocations: Invocations) -> Self {
        invocations.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_splits_make_up_the_number() {
        for all in Invocations::ALL {
            assert_eq!(LANES as u32 / all.rows_each() * all.splits(), all.0);
            assert!(all.rows_each() == 1 || all.splits() == 1);
            assert_eq!(Invocations::try_from(all.0), Ok(all));
        }
        assert_eq!(Invocations::FOUR_A_ROW.for_spans(1), Invocations::ONE_ROW_EACH);
        assert_eq!(Invocations::FOUR_A_ROW.for_spans(2), Invocations::TWO_A_ROW);
        assert_eq!(Invocations::FOUR_A_ROW.for_spans(3), Invocations::FOUR_A_ROW);
        assert_eq!(Invocations::TWO_ROWS_EACH.for_spans(1), Invocations::TWO_ROWS_EACH);
        assert_eq!(Invocations::try_from(512), Err(NoSuchInvocations(512)));
    }
}
