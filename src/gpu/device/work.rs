//! The amount of work of dispatches, and the limit for one submission.

/// Default maximum of multiply-adds in one submission of a model's pass.
///
/// Systems reset a device that is busy with one submission for too long: Windows after two seconds, others
/// somewhat later. An integrated GPU with 10¹¹ multiply-adds per second finishes this many in 43 ms. A token
/// reads each weight for a single multiplication, so this is one token of a model of 4·10⁹ weights; a device
/// that reads only that many per second still has half of Windows' time left. A token of a larger model takes
/// several submissions.
pub const SUBMISSION_WORK: u64 = 1 << 32;

/// How a dispatch's work is counted: multiplications by weights, and by keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Negligible compared with other dispatches.
    Little,
    /// This many multiply-adds per workgroup.
    AWorkgroup(u64),
    /// Multiply-adds per workgroup and position that the last token sees.
    APosition {
        /// The multiply-adds.
        each: u64,
        /// Maximum number of positions that a token sees.
        window: u32,
    },
}

impl Work {
    /// Multiply-adds of `workgroups` workgroups, if the last token of the batch is at position `positions -
    /// 1`.
    pub(in crate::gpu) fn of(self, workgroups: u64, positions: u32) -> u64 {
        let each = match self {
            Self::Little => 0,
            Self::AWorkgroup(each) => each,
            Self::APosition { each, window } => each.saturating_mul(positions.min(window).into()),
        };
        each.saturating_mul(workgroups)
    }
}
