//! How much dispatches compute, and how much one submission may.

/// Multiply-adds that one submission of a model's pass has at the most, where nothing else is asked for.
///
/// Systems reset a device that is busy with one submission for too long: Windows after two seconds, others
/// after some more. An integrated GPU that makes a hundred thousand million multiply-adds in a second is done
/// with these in 43 ms. One token, which reads each weight for a single multiplication, is this much of a model
/// of four thousand million weights: a device that reads no faster than that in a second still has half of
/// what Windows allows. A larger model's token is several submissions.
pub const SUBMISSION_WORK: u64 = 1 << 32;

/// What is counted of a dispatch's work: multiplications by weights, and by keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Nothing: there is little beside the others.
    Little,
    /// So many multiply-adds a workgroup.
    AWorkgroup(u64),
    /// So many multiply-adds a workgroup for each position that the last token sees.
    APosition {
        /// The multiply-adds.
        each: u64,
        /// The most positions that a token sees.
        window: u32,
    },
}

impl Work {
    /// Multiply-adds of so many workgroups, where the last token of the batch is at position `positions - 1`.
    pub(in crate::gpu) fn of(self, workgroups: u64, positions: u32) -> u64 {
        let each = match self {
            Self::Little => 0,
            Self::AWorkgroup(each) => each,
            Self::APosition { each, window } => each.saturating_mul(positions.min(window).into()),
        };
        each.saturating_mul(workgroups)
    }
}
