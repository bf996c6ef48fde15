//! The variants of product kernels that are offered to each kind of device.

use super::invocations::Invocations;
use super::target::Target;

/// The numbers of invocations offered to a kind of device. The first is the default without timing; timing
/// chooses among all. A driver's compiler must compile each in reasonable time; `scripts/compile_everywhere`
/// tests that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    /// For products with one token.
    pub matvec: &'static [Invocations],
    /// For products with a batch, in which invocations do not share a row.
    pub matmul: &'static [Invocations],
    /// For both with weights that are read from bit streams, if they need other numbers.
    pub streams: Option<&'static [Invocations]>,
}

impl Candidates {
    /// The candidates for this kind of device.
    pub fn of(target: Target) -> Self {
        match target {
            // With eight rows per invocation, most lanes of a subgroup would be idle.
            Target::Gpu => Self {
                matvec: &[
                    Invocations::FOUR_A_ROW,
                    Invocations::TWO_A_ROW,
                    Invocations::ONE_ROW_EACH,
                    Invocations::TWO_ROWS_EACH,
                ],
                matmul: &[Invocations::ONE_ROW_EACH, Invocations::TWO_ROWS_EACH, Invocations::FOUR_ROWS_EACH],
                streams: None,
            },
            Target::Llvmpipe => Self {
                matvec: &[Invocations::EIGHT_ROWS_EACH, Invocations::FOUR_ROWS_EACH],
                matmul: &[Invocations::EIGHT_ROWS_EACH, Invocations::FOUR_ROWS_EACH],
                streams: Some(&[
                    Invocations::TWO_ROWS_EACH,
                    Invocations::ONE_ROW_EACH,
                    Invocations::FOUR_ROWS_EACH,
                ]),
            },
            // Not several rows per invocation: see `Target::compiles`.
            Target::Cpu => Self {
                matvec: &[Invocations::ONE_ROW_EACH, Invocations::TWO_A_ROW, Invocations::FOUR_A_ROW],
                matmul: &[Invocations::ONE_ROW_EACH],
                streams: None,
            },
        }
    }
}
