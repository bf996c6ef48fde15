//! How often an invocation goes round the loops of a product, at the most.
//!
//! Loops whose bodies run once with all lanes off are counted.

use super::layouts::fast;
use super::layouts::format::{Format, WIDE_CHUNK};
use super::matrix_params::MatrixParams;
use crate::codec::grid::{CHUNK, LANES};
use crate::gpu::Invocations;

/// Rounds for the start of one lane's stream: a lane index of 16 bits, or one of 8, and a round of the other.
const STREAM: u64 = 34;

/// Rounds for a chunk in the fast layout: each of its eights has two loops for exceptions.
const FAST_CHUNK: u64 = 1 + 4 * 5;

/// Rounds of a product with `matrices` in `format`, of which all but those that are `gated` are apart.
pub(in crate::gpu) fn of_product(
    format: Format,
    invocations: Invocations,
    matrices: &[MatrixParams],
    gated: bool,
) -> u64 {
    let of = |matrix: &MatrixParams| {
        let chunks = u64::from(matrix.cols).div_ceil(format.chunk_cols() as u64);
        let (tiles, spans) = (u64::from(matrix.col_tiles), u64::from(matrix.spans));
        let rows = u64::from(invocations.rows_each());
        let weights = match format {
            Format::RawBf16 | Format::RawF16 | Format::RawF32 => 5 * chunks,
            Format::Dense(_) => 3 * chunks + tiles * (STREAM * rows + 1),
            Format::Fast(_) => FAST_CHUNK * chunks + fast::MOST_OF_ROW_BLOCK,
        };
        weights + 2 * spans
    };
    let all = matrices.iter().map(of);
    if gated { all.sum() } else { all.max().unwrap_or(0) }
}

/// Rounds of finding out what rows of so many columns in tiles are like, and of bringing them to the fast layout,
/// whichever are more.
pub(in crate::gpu) fn of_transcoding(cols: usize, tiles: usize) -> u64 {
    let (chunks, wide_chunks) = (cols.div_ceil(CHUNK) as u64, cols.div_ceil(WIDE_CHUNK) as u64);
    let through = chunks + tiles as u64 * (STREAM + 2);
    (2 * through).max(through + 2 * wide_chunks + fast::MOST_OF_ROW_BLOCK)
}

/// Rounds of a product with rows of so many columns in the fast layout.
pub(in crate::gpu) fn of_fast_rows(cols: usize) -> u64 {
    FAST_CHUNK * cols.div_ceil(WIDE_CHUNK) as u64 + fast::MOST_OF_ROW_BLOCK + 2 * cols.div_ceil(LANES) as u64
}
