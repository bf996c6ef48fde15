//! Limits on the iterations of an invocation's loops.
//!
//! Mesa's llvmpipe, and so lavapipe, counts the iterations of all loops of an invocation together, and
//! silently ends all of them after 65 535, which gives wrong results. Kernels that could exceed this are
//! refused there.

use super::gpu::Gpu;
use crate::gpu::{GpuError, Target};

/// Iterations after which llvmpipe ends all loops.
const MOST: u64 = 65_535;

impl Gpu {
    /// Returns an error if an invocation of `label` could loop more often than the driver allows.
    pub(in crate::gpu) fn check_rounds(&self, label: &str, rounds: u64) -> Result<(), GpuError> {
        match self.most_rounds() {
            Some(most) if rounds > most => Err(GpuError::TooManyRounds { label: label.into(), rounds, most }),
            _ => Ok(()),
        }
    }

    /// Maximum iterations per invocation, if the driver counts them.
    pub(in crate::gpu) fn most_rounds(&self) -> Option<u64> {
        // The kernels' target does not matter, because the driver counts.
        (Target::of(&self.device().adapter_info()) == Target::Llvmpipe).then_some(MOST)
    }
}
