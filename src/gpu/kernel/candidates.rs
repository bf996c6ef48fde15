//! Which variants of the kernels of products a kind of device is offered.

use super::invocations::Invocations;
use super::target::Target;

/// The numbers of invocations that a kind of device is offered: those that it has where nothing was timed come first,
/// and the others are what timing chooses from. A driver's compiler must take all of them within reason:
/// `scripts/compile_everywhere` compiles each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    /// For products with one token.
    pub matvec: &'static [Invocations],
    /// For products with a batch, in which no row is shared.
    pub matmul: &'static [Invocations],
    /// For both with dense tiles, where these are others.
    pub dense: Option<&'static [Invocations]>,
}

impl Candidates {
    /// What a device of this kind is offered.
    pub fn of(target: Target) -> Self {
        match target {
            // With eight rows an invocation, most lanes of a subgroup would be idle.
            Target::Gpu => Self {
                matvec: &[
                    Invocations::FOUR_A_ROW,
                    Invocations::TWO_A_ROW,
                    Invocations::ONE_ROW_EACH,
                    Invocations::TWO_ROWS_EACH,
                ],
                matmul: &[Invocations::ONE_ROW_EACH, Invocations::TWO_ROWS_EACH, Invocations::FOUR_ROWS_EACH],
                dense: None,
            },
            Target::Llvmpipe => Self {
                matvec: &[Invocations::EIGHT_ROWS_EACH, Invocations::FOUR_ROWS_EACH],
                matmul: &[Invocations::EIGHT_ROWS_EACH, Invocations::FOUR_ROWS_EACH],
                dense: Some(&[
                    Invocations::TWO_ROWS_EACH,
                    Invocations::ONE_ROW_EACH,
                    Invocations::FOUR_ROWS_EACH,
                ]),
            },
            // Not several rows: see `Target::compiles`.
            Target::Cpu => Self {
                matvec: &[Invocations::ONE_ROW_EACH, Invocations::TWO_A_ROW, Invocations::FOUR_A_ROW],
                matmul: &[Invocations::ONE_ROW_EACH],
                dense: None,
            },
        }
    }
}
