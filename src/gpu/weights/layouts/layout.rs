//! The interface of a layout.

use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};
use crate::gpu::{Candidates, Invocations, InvocationsByStorage, Texel, Variant, WidenFrom};
use crate::tensor::Dtype;

/// The properties of a layout that kernels, parts and choices need. Each layout implements this in its own
/// file.
pub(in crate::gpu) trait Layout {
    /// Its name in labels of kernels, which differs if flags or constants differ.
    fn name(&self) -> String;

    /// Adds the flags and constants that the layout's reader in `shaders/shared` needs.
    fn apply(&self, variant: Variant) -> Variant;

    /// The type of the weights.
    fn dtype(&self) -> Dtype;

    /// Columns of a chunk, which a kernel reads at a time.
    fn chunk_cols(&self) -> usize {
        WIDE_CHUNK
    }

    /// The unit in which shaders read.
    fn texel(&self) -> Texel {
        Texel::Vector
    }

    /// Whether the weights can be [widened](crate::gpu::WideRoom) for a batch.
    fn is_compressed(&self) -> bool {
        true
    }

    /// Whether the matrix has tiles of its own, whose columns one invocation reads in order.
    fn is_tiled(&self) -> bool {
        false
    }

    /// Whether reading can begin with any chunk of a row.
    fn begins_anywhere(&self) -> bool {
        !self.is_tiled()
    }

    /// Whether some weights are in a separate list.
    fn has_exceptions(&self) -> bool {
        false
    }

    /// Whether most chunks of a row block have none of those, so that the others are worth a loop of their own.
    fn exceptions_are_rare(&self) -> bool {
        false
    }

    /// The number of invocations per row block.
    fn invocations(&self, by: &InvocationsByStorage) -> Invocations;

    /// The layout's own numbers of invocations to offer, if the common ones do not suit it.
    fn own_candidates(&self, _: &Candidates) -> Option<&'static [Invocations]> {
        None
    }

    /// The number of tokens from which weights are widened before a batch is multiplied with them.
    fn widen_from(&self, from: &WidenFrom) -> usize;

    /// Advances the offsets of a part past its first `count` row blocks.
    fn skip_row_blocks(&self, params: &mut MatrixParams, count: u32);

    /// Adjusts the offsets of a part whose words begin at byte `at` of a buffer, and whose table begins at
    /// word `table`.
    fn move_to(&self, params: &mut MatrixParams, at: u64, table: u32);

    /// Maximum iterations of all loops of an invocation that multiplies with `rows` rows of a part.
    fn product_rounds(&self, params: &MatrixParams, rows: u64) -> u64;
}
