//! What a layout says of itself.

use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};
use crate::gpu::{Candidates, Invocations, InvocationsByStorage, Texel, Variant, WidenFrom};
use crate::tensor::Dtype;

/// What kernels, parts and choices ask of how a matrix is stored. Each layout answers in a file of its own.
pub(in crate::gpu) trait Layout {
    /// What it is called in labels of kernels: another name where flags or constants differ.
    fn name(&self) -> String;

    /// Adds the flags and constants that the layout's reader in `shaders/shared` needs.
    fn apply(&self, variant: Variant) -> Variant;

    /// The type of the weights.
    fn dtype(&self) -> Dtype;

    /// Columns that a kernel reads at a time.
    fn chunk_cols(&self) -> usize {
        WIDE_CHUNK
    }

    /// What shaders read at a time.
    fn texel(&self) -> Texel {
        Texel::Vector
    }

    /// Whether a batch can have the weights [widened](crate::gpu::WideRoom) first.
    fn is_compressed(&self) -> bool {
        true
    }

    /// Whether there are tiles of the matrix's own, whose columns one invocation reads in order.
    fn is_tiled(&self) -> bool {
        false
    }

    /// Whether some weights are in a list beside the others, sorted by column.
    fn has_exceptions(&self) -> bool {
        false
    }

    /// The invocations for a row block.
    fn invocations(&self, by: &InvocationsByStorage) -> Invocations;

    /// The invocations that are offered where those that all layouts share do not suit.
    fn own_candidates(&self, _: &Candidates) -> Option<&'static [Invocations]> {
        None
    }

    /// From how many tokens on the weights are widened before a batch is multiplied with them.
    fn widen_from(&self, from: &WidenFrom) -> usize;

    /// Moves the offsets of a part past its first `count` row blocks.
    fn skip_row_blocks(&self, params: &mut MatrixParams, count: u32);

    /// Moves the offsets of a part whose words begin at byte `at` of a buffer, and what is beside them at word
    /// `table` of a table.
    fn move_to(&self, params: &mut MatrixParams, at: u64, table: u32);

    /// Rounds of all loops of an invocation that multiplies with `rows` rows of a part, at the most.
    fn product_rounds(&self, params: &MatrixParams, rows: u64) -> u64;
}
