//! The tiered layout of BF16: about 11 bits a weight. A weight has ten of its bits where its column says, and its
//! row's bit stream has the rest of its exponent, if those ten do not say all of it. What lies where is written in
//! `shaders/shared/tiered.wgsl`.
//!
//! | File | What it holds |
//! |---|---|
//! | `mod.rs` | The format, and its `Layout`. |
//! | `tier` | The code of an exponent. |
//! | `row` | Measuring a row: the twin of `measure_tiered.wgsl`. |
//! | `table` | What lies beside the vectors: where streams and exceptions begin. |
//! | `choosing` | Which format a matrix has. |
//! | `transcode` | The twin of `transcode_tiered.wgsl`, and its inverse. |

mod choosing;
mod row;
mod table;
mod tier;
mod transcode;

pub(in crate::gpu) use self::choosing::choose;
pub(in crate::gpu) use self::row::{ROW_WORDS, Row};
pub(in crate::gpu) use self::table::{Places, most_table_bytes, places, row_places, table};
pub use self::transcode::{TieredWords, transcode, weights};
use super::layout::Layout;
use crate::codec::grid::{Grid, LANES};
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK, span_cols};
use crate::gpu::{Candidates, Invocations, InvocationsByStorage, Target, Texel, Variant, WidenFrom};
use crate::tensor::Dtype;

/// Columns whose stream bits are read at once.
const WINDOW_COLS: usize = 16;

/// Stream bits that so many columns may have.
const WINDOW_BITS: u32 = 31;

/// An exception names its chunk with thirteen bits. The last number is that of no chunk: `NO_ENTRY` of
/// `shaders/shared/tiered.wgsl`, which follows the last exception, has all bits set.
const MAX_CHUNKS: usize = (1 << 13) - 1;

/// Where a row's stream begins is told with so many bits.
const START_BITS: u32 = 24;

/// Exceptions that a row may have; a matrix with more in one row stays dense. Each is one iteration of a loop.
pub(in crate::gpu) const MOST_OF_ROW: u32 = 1 << 11;

/// Iterations of the loops over a chunk.
const CHUNK_ROUNDS: u64 = 3;

/// Iterations of finding the first exception of a span, among those of 64 rows.
const FIND_ROUNDS: u64 = 20;

/// What shaders read at a time.
pub(in crate::gpu) const TEXEL: Texel = Texel::Vector;

/// What is different from one matrix in the tiered layout to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TieredFormat {
    /// Whether the last code stands for the exponent 0.
    pub zeros: bool,
}

/// All formats.
pub(super) fn samples(_: Option<Target>) -> Vec<TieredFormat> {
    [false, true].map(|zeros| TieredFormat { zeros }).into()
}

impl Layout for TieredFormat {
    fn name(&self) -> String {
        if self.zeros { "tiered.zeros" } else { "tiered" }.into()
    }

    fn apply(&self, variant: Variant) -> Variant {
        variant.flag("TIERED").flag("UNROLLED").flag_if(self.zeros, "ZEROS")
    }

    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn texel(&self) -> Texel {
        TEXEL
    }

    fn has_exceptions(&self) -> bool {
        true
    }

    fn begins_anywhere(&self) -> bool {
        false
    }

    fn invocations(&self, by: &InvocationsByStorage) -> Invocations {
        by.tiered
    }

    fn own_candidates(&self, all: &Candidates) -> Option<&'static [Invocations]> {
        all.streams
    }

    fn widen_from(&self, from: &WidenFrom) -> usize {
        from.tiered
    }

    fn skip_row_blocks(&self, params: &mut MatrixParams, count: u32) {
        params.words_at += count * row_block_vectors(params.cols);
        params.table_at += count * params.spans * LANES as u32;
        params.tiles_at += count;
    }

    fn move_to(&self, params: &mut MatrixParams, at: u64, table: u32) {
        params.tiles_at += table;
        params.coded_at += table;
        params.masks_at += table;
        params.words_at = (at / 16) as u32;
    }

    fn product_rounds(&self, params: &MatrixParams, rows: u64) -> u64 {
        let chunks = CHUNK_ROUNDS * chunks(params.cols as usize) as u64;
        chunks + rows * (u64::from(MOST_OF_ROW) + FIND_ROUNDS * u64::from(params.spans))
    }
}

/// Iterations of the loops of a product with eight rows of a matrix, sums of spans included: no kernel has more rows an
/// invocation.
pub(in crate::gpu) fn row_rounds(grid: &Grid) -> u64 {
    let spans = grid.matrix.cols.div_ceil(span_cols(grid.matrix)) as u64;
    CHUNK_ROUNDS * chunks(grid.matrix.cols) as u64 + 8 * (u64::from(MOST_OF_ROW) + (FIND_ROUNDS + 1) * spans)
}

/// Whether the layout can have a matrix of `dtype`.
pub(in crate::gpu) fn suits(dtype: Dtype, grid: &Grid) -> bool {
    dtype == Dtype::BF16 && chunks(grid.matrix.cols) <= MAX_CHUNKS
}

fn chunks(cols: usize) -> usize {
    cols.div_ceil(WIDE_CHUNK)
}

/// Vectors of a lane: two for a chunk's signs and mantissas, and one for the tags of two chunks.
fn lane_vectors(cols: usize) -> usize {
    2 * chunks(cols) + chunks(cols).div_ceil(2)
}

/// Vectors of four words that a row block of so many columns has.
fn row_block_vectors(cols: u32) -> u32 {
    (lane_vectors(cols as usize) * LANES) as u32
}

/// Bytes of a row block's vectors, without streams and exceptions.
pub(in crate::gpu) fn row_block_bytes(grid: &Grid) -> usize {
    lane_vectors(grid.matrix.cols) * LANES * 16
}

/// The most that `row_blocks` row blocks of a matrix can take that do not [stay dense](choose).
pub(in crate::gpu) fn most_bytes(grid: &Grid, row_blocks: usize) -> u64 {
    (row_blocks * row_block_bytes(grid)) as u64 + most_table_bytes(grid, row_blocks)
}
