//! Which of their variants the kernels of products have on a device. Results are the same bits from each;
//! how long they take is the device's affair, and is found out by timing it.

use serde::{Deserialize, Serialize};

use super::format::Format;
use super::invocations::Invocations;

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
    /// Whether weights that stay on the device are textures and not buffers, where its textures are large enough.
    pub textures: bool,
}

impl KernelChoices {
    /// What a device is given that was not timed.
    pub fn usual(is_cpu: bool) -> Self {
        match is_cpu {
            // A matrix of 4096 rows has 64 row blocks, which would leave most of a large device idle if there
            // were 64 invocations for each.
            false => Self::with_invocations(Invocations::FOUR_A_ROW),
            // Where a processor stands in for a device, reading the same activation in every lane takes as
            // long as reading a weight, and eight lanes are all that run side by side. But the streams of
            // dense tiles and the sums of a batch are more than its registers hold for so many rows.
            true => Self {
                matvec: InvocationsByStorage {
                    raw: Invocations::EIGHT_ROWS_EACH,
                    dense: Invocations::TWO_ROWS_EACH,
                    fast: Invocations::EIGHT_ROWS_EACH,
                },
                matmul: InvocationsByStorage {
                    raw: Invocations::FOUR_ROWS_EACH,
                    dense: Invocations::TWO_ROWS_EACH,
                    fast: Invocations::FOUR_ROWS_EACH,
                },
                fast_is_faster: true,
                // Tiles take long to multiply with, and each kind of group is another kernel that takes long to compile.
                joins: true,
                joins_tiles: false,
                // The driver loads a texel for all lanes at once, and from a buffer lane by lane.
                textures: true,
            },
        }
    }

    /// So many invocations for a row block in every product; in those with a batch, no row is shared.
    pub fn with_invocations(invocations: Invocations) -> Self {
        let matvec = InvocationsByStorage::all(invocations);
        let matmul = InvocationsByStorage::all(invocations.without_splits());
        Self { matvec, matmul, fast_is_faster: true, joins: true, joins_tiles: true, textures: false }
    }
}
