//! How often an invocation may go round its loops.
//!
//! Mesa's llvmpipe, and so lavapipe, counts the rounds of all loops of an invocation together, and ends all of them
//! after 65 535: results are then wrong, and nothing says so. What could come to more is refused there.

use super::gpu::Gpu;
use crate::gpu::{GpuError, Target};

/// Rounds after which llvmpipe ends all loops.
const MOST: u64 = 65_535;

impl Gpu {
    /// An error where an invocation of `label` would go round its loops more often than the driver lets it.
    pub(in crate::gpu) fn check_rounds(&self, label: &str, rounds: u64) -> Result<(), GpuError> {
        match self.most_rounds() {
            Some(most) if rounds > most => Err(GpuError::TooManyRounds { label: label.into(), rounds, most }),
            _ => Ok(()),
        }
    }

    /// The rounds that an invocation may go, if the driver counts them.
    pub(in crate::gpu) fn most_rounds(&self) -> Option<u64> {
        // Whatever kernels are for: it is the driver that counts.
        (Target::of(&self.device().adapter_info()) == Target::Llvmpipe).then_some(MOST)
    }
}
