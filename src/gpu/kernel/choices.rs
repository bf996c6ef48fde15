//! Which of their variants the kernels of products have on a device. Results are the same bits from each;
//! how long they take is the device's affair, and is found out by timing it.

use serde::{Deserialize, Serialize};

use super::invocations::Invocations;
use super::target::Target;

/// Invocations for a row block, by how weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvocationsByStorage {
    /// For uncompressed weights.
    pub raw: Invocations,
    /// For dense tiles.
    pub dense: Invocations,
    /// For the fast layout.
    pub fast: Invocations,
}

impl InvocationsByStorage {
    /// As many for all.
    pub fn all(invocations: Invocations) -> Self {
        Self { raw: invocations, dense: invocations, fast: invocations }
    }
}

/// What is chosen for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelChoices {
    /// For products with one token.
    pub matvec: InvocationsByStorage,
    /// For products with a batch.
    pub matmul: InvocationsByStorage,
    /// Whether the fast layout is faster than dense tiles.
    pub fast_is_faster: bool,
    /// Whether a layer's matrices are joined where they can be, so that one dispatch multiplies with several.
    pub joins: bool,
    /// Whether those are joined too that are dense tiles.
    pub joins_tiles: bool,
    /// From how many tokens on a batch has its weights widened first.
    pub widen_from: WidenFrom,
    /// Whether weights that stay on the device are textures and not buffers, where its textures are large enough.
    pub textures: bool,
}

/// From how many tokens on weights are [widened](crate::gpu::WideRoom) before a batch is multiplied with them, by how
/// they are stored. At least two: for a single token they never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WidenFrom {
    /// Dense tiles.
    pub dense: usize,
    /// The fast layout.
    pub fast: usize,
}

impl WidenFrom {
    /// For no batch.
    pub const NEVER: Self = Self { dense: usize::MAX, fast: usize::MAX };

    /// The numbers of tokens from which on a batch of up to `most` has other dispatches than a smaller one.
    pub fn steps(self, most: usize) -> Vec<usize> {
        let mut steps = vec![2];
        steps.extend([self.dense, self.fast].into_iter().filter(|from| (3..=most).contains(from)));
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

impl KernelChoices {
    /// What a device of this kind is given that was not timed.
    pub fn usual(target: Target) -> Self {
        match target {
            // A matrix of 4096 rows has 64 row blocks, which would leave most of a large device idle if there
            // were 64 invocations for each.
            Target::Gpu => Self::with_invocations(Invocations::FOUR_A_ROW),
            Target::Llvmpipe => Self::on_llvmpipe(),
            // What every compiler takes, and as on the other processors what is not a matter of compilers.
            Target::Cpu => Self {
                joins_tiles: false,
                widen_from: WidenFrom { dense: 2, fast: usize::MAX },
                ..Self::with_invocations(Invocations::ONE_ROW_EACH)
            },
        }
    }

    /// Where Mesa's drivers compute on a processor, reading the same activation in every lane takes as
    /// long as reading a weight, and eight lanes are all that run side by side. But the streams of
    /// dense tiles are more than its registers hold for so many rows, and kernels of four or eight take
    /// longer to compile than they gain.
    fn on_llvmpipe() -> Self {
        let invocations = InvocationsByStorage {
            raw: Invocations::EIGHT_ROWS_EACH,
            dense: Invocations::TWO_ROWS_EACH,
            fast: Invocations::EIGHT_ROWS_EACH,
        };
        Self {
            matvec: invocations,
            matmul: invocations,
            fast_is_faster: true,
            // Tiles take long to multiply with, and each kind of group is another kernel that takes long to compile.
            joins: true,
            joins_tiles: false,
            // Its time goes into taking tiles apart.
            widen_from: WidenFrom { dense: 2, fast: usize::MAX },
            // The driver loads a texel for all lanes at once, and from a buffer lane by lane.
            textures: true,
        }
    }

    /// So many invocations for a row block in every product; in those with a batch, no row is shared.
    pub fn with_invocations(invocations: Invocations) -> Self {
        let matvec = InvocationsByStorage::all(invocations);
        let matmul = InvocationsByStorage::all(invocations.without_splits());
        // Tiles are taken apart once for every sixteen tokens otherwise. What is fast is fast to take apart.
        let widen_from = WidenFrom { dense: 32, fast: usize::MAX };
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
