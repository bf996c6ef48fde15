//! The variants of product kernels that a device uses. All variants give the same bits; their speed depends
//! on the device and is found by timing.

use serde::{Deserialize, Serialize};

use super::invocations::Invocations;
use super::target::Target;

/// Invocations per row block, by layout of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvocationsByStorage {
    /// For uncompressed weights.
    pub raw: Invocations,
    /// For dense tiles.
    pub dense: Invocations,
    /// For the fast layout.
    pub fast: Invocations,
    /// For the tiered layout.
    pub tiered: Invocations,
}

impl InvocationsByStorage {
    /// The same number for all layouts.
    pub fn all(invocations: Invocations) -> Self {
        Self { raw: invocations, dense: invocations, fast: invocations, tiered: invocations }
    }
}

/// The choices for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelChoices {
    /// For products with one token.
    pub matvec: InvocationsByStorage,
    /// For products with a batch.
    pub matmul: InvocationsByStorage,
    /// Whether the fast layout is faster than dense tiles.
    pub fast_is_faster: bool,
    /// Whether a layer's matrices are joined if possible, so that one dispatch multiplies with several.
    pub joins: bool,
    /// Whether matrices in dense tiles are joined too.
    pub joins_tiles: bool,
    /// The batch sizes from which weights are widened first.
    pub widen_from: WidenFrom,
    /// Whether resident weights are textures instead of buffers, if the device's textures are large enough.
    pub textures: bool,
}

/// The number of tokens from which weights are [widened](crate::gpu::WideRoom) before a batch is multiplied
/// with them, by layout. At least two: weights are never widened for a single token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WidenFrom {
    /// Dense tiles.
    pub dense: usize,
    /// The fast layout.
    pub fast: usize,
    /// The tiered layout.
    pub tiered: usize,
}

impl WidenFrom {
    /// Never widen.
    pub const NEVER: Self = Self { dense: usize::MAX, fast: usize::MAX, tiered: usize::MAX };

    /// The numbers of tokens, up to `most`, at which a batch's dispatches change.
    pub fn steps(self, most: usize) -> Vec<usize> {
        let mut steps = vec![2];
        steps.extend(
            [self.dense, self.fast, self.tiered].into_iter().filter(|from| (3..=most).contains(from)),
        );
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

impl KernelChoices {
    /// The default for this kind of device, without timing.
    pub fn usual(target: Target) -> Self {
        match target {
            // A matrix of 4096 rows has 64 row blocks. With 64 invocations for each, most of a large device
            // would be idle.
            Target::Gpu => Self::with_invocations(Invocations::FOUR_A_ROW),
            Target::Llvmpipe => Self::on_llvmpipe(),
            // Only variants that every compiler handles. Choices that do not depend on the compiler are
            // those of llvmpipe.
            Target::Cpu => Self {
                joins_tiles: false,
                widen_from: WidenFrom { dense: 2, fast: usize::MAX, tiered: 2 },
                ..Self::with_invocations(Invocations::ONE_ROW_EACH)
            },
        }
    }

    /// With Mesa's drivers for CPUs, reading the same activation in every lane takes as long as reading a
    /// weight, and only eight lanes run side by side. But for this many rows, the streams of dense tiles
    /// exceed the CPU's registers, and kernels of four or eight rows take longer to compile than they save.
    fn on_llvmpipe() -> Self {
        let invocations = InvocationsByStorage {
            raw: Invocations::EIGHT_ROWS_EACH,
            dense: Invocations::TWO_ROWS_EACH,
            fast: Invocations::EIGHT_ROWS_EACH,
            tiered: Invocations::TWO_ROWS_EACH,
        };
        Self {
            matvec: invocations,
            matmul: invocations,
            fast_is_faster: true,
            // Multiplying with tiles is slow, and each kind of group needs another kernel that is slow to
            // compile.
            joins: true,
            joins_tiles: false,
            // Decoding tiles takes most of the time.
            widen_from: WidenFrom { dense: 2, fast: usize::MAX, tiered: 17 },
            // The driver loads a texel for all lanes at once, but loads from a buffer lane by lane.
            textures: true,
        }
    }

    /// This number of invocations per row block in every product; with a batch, invocations do not share a
    /// row.
    pub fn with_invocations(invocations: Invocations) -> Self {
        let matvec = InvocationsByStorage::all(invocations);
        let matmul = InvocationsByStorage::all(invocations.without_splits());
        // Otherwise tiles are decoded once for every sixteen tokens. The fast layout is quick to decode.
        let widen_from = WidenFrom { dense: 32, fast: usize::MAX, tiered: 64 };
        Self {
            matvec,
            matmul,
            fast_is_faster: true,
            joins: true,
            joins_tiles: true,
            widen_from,
            textures: false,
        }
    }
}
