//! Which of their variants the kernels of products have on a device. Results are the same bits from each;
//! how long they take is the device's affair, and is found out by timing it.

use serde::{Deserialize, Serialize};

use super::invocations::Invocations;
use super::target::Target;
use crate::gpu::weights::layouts::format::Format;

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

    /// As many as there are for weights in `format`.
    pub fn of(&self, format: Format) -> Invocations {
        match format {
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => self.raw,
            Format::Dense(_) => self.dense,
            Format::Fast(_) => self.fast,
        }
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

    /// For products with one token, with weights in `format`.
    pub fn for_matvec(&self, format: Format) -> &'static [Invocations] {
        self.dense.filter(|_| matches!(format, Format::Dense(_))).unwrap_or(self.matvec)
    }

    /// For products with a batch.
    pub fn for_matmul(&self, format: Format) -> &'static [Invocations] {
        self.dense.filter(|_| matches!(format, Format::Dense(_))).unwrap_or(self.matmul)
    }
}

impl KernelChoices {
    /// Whether weights in `format` are widened for a batch of so many tokens.
    pub fn widens(&self, format: Format, tokens: usize) -> bool {
        match format {
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => false,
            Format::Dense(_) => self.widens_compressed(false, tokens),
            Format::Fast(_) => self.widens_compressed(true, tokens),
        }
    }

    /// The same of weights that are in the fast layout or else in dense tiles.
    pub(in crate::gpu) fn widens_compressed(&self, fast: bool, tokens: usize) -> bool {
        let WidenFrom { dense, fast: of_fast } = self.widen_from;
        tokens > 1 && tokens >= if fast { of_fast } else { dense }
    }

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
