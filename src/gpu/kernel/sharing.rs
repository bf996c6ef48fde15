//! How the rows of a row block are shared in a product with one token.

use super::invocations::Invocations;
use super::target::Target;

/// How workgroups and their invocations share the rows of a row block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Invocations of a workgroup.
    pub invocations: Invocations,
    /// Strips of a row block, each with a workgroup of its own: 1, 2 or 4. Where there are several, an invocation has no
    /// more than one row.
    pub strips: u32,
}

/// Workgroups that occupy a large GPU: two or three for each of 96 compute units.
const ENOUGH_WORKGROUPS: u32 = 256;

impl Sharing {
    /// One workgroup for a row block.
    pub fn alone(invocations: Invocations) -> Self {
        Self { invocations, strips: 1 }
    }

    /// For a matrix of so many row blocks, whose rows have so many `spans`, with at most this many invocations a
    /// workgroup. GPUs get more workgroups where there are few row blocks.
    pub fn for_shape(target: Target, invocations: Invocations, row_blocks: u32, spans: u32) -> Self {
        let spans = spans.max(1);
        let most = match target {
            Target::Gpu if invocations.rows_each() == 1 => spans.next_power_of_two().min(4),
            _ => 1,
        };
        let is_enough = |strips: &u32| row_blocks.saturating_mul(*strips) >= ENOUGH_WORKGROUPS;
        let strips = [1, 2].into_iter().find(is_enough).unwrap_or(4).min(most);
        Self { invocations: invocations.for_spans(spans.div_ceil(strips)), strips }
    }

    /// Invocations that share a row.
    pub(in crate::gpu) fn splits(self) -> u32 {
        self.invocations.splits() * self.strips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_row_blocks_are_shared_by_more_workgroups_as_far_as_there_are_spans() {
        let of = |target, invocations, row_blocks, spans| {
            let sharing = Sharing::for_shape(target, invocations, row_blocks, spans);
            (u32::from(sharing.invocations), sharing.strips, sharing.splits())
        };
        let most = Invocations::FOUR_A_ROW;
        assert_eq!(of(Target::Gpu, most, 1024, 16), (256, 1, 4));
        assert_eq!(of(Target::Gpu, most, 128, 16), (256, 2, 8));
        assert_eq!(of(Target::Gpu, most, 64, 16), (256, 4, 16));
        assert_eq!(of(Target::Gpu, most, 9, 3), (64, 4, 4));
        assert_eq!(of(Target::Gpu, most, 9, 5), (128, 4, 8));
        assert_eq!(of(Target::Gpu, most, 1, 1), (64, 1, 1));
        assert_eq!(of(Target::Gpu, Invocations::ONE_ROW_EACH, 64, 16), (64, 4, 4));
        assert_eq!(of(Target::Gpu, Invocations::TWO_ROWS_EACH, 64, 16), (32, 1, 1));
        assert_eq!(of(Target::Cpu, most, 64, 16), (256, 1, 4));
    }
}
