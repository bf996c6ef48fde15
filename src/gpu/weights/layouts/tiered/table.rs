//! What lies beside the vectors of a part: words, in this order.
//!
//! - For each row block, span and lane: of the first span the row's base, eight bits, and above the word with which
//!   its stream begins, counted from the first stream's; of others the bit of the stream with which the span begins.
//! - The first exception of each row block, and where those of the last one end.
//! - Exceptions, by row and then by column: lane, column and exponent, from the top with 6, 18 and 8 bits.
//! - The streams, each from a word of its own, and two words that readers may look at.

use super::row::Row;
use super::{START_BITS, TieredFormat, chunks};
use crate::codec::grid::{Grid, LANES};
use crate::gpu::weights::matrix_params::{WIDE_CHUNK, span_cols};

/// Words behind the last stream.
const BEHIND: usize = 2;

/// Bits that streams and exceptions of a weight may take on average; a matrix with more stays dense.
const MOST_BITS: (u64, u64) = (5, 4);

/// Where what is in a table begins, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gpu) struct Places {
    /// The first exceptions of row blocks.
    pub firsts: u32,
    /// Exceptions.
    pub exceptions: u32,
    /// Streams.
    pub streams: u32,
    /// Where all of it ends.
    pub len: u32,
}

impl Places {
    /// The places of a table with room for so many exceptions and words of streams.
    pub fn with_room(grid: &Grid, row_blocks: usize, exceptions: u32, stream_words: u32) -> Self {
        let head = head_words(grid, row_blocks) as u32;
        let streams = head + exceptions;
        let len = streams + stream_words + BEHIND as u32;
        Self { firsts: head - row_blocks as u32 - 1, exceptions: head, streams, len }
    }
}

fn spans(grid: &Grid) -> usize {
    grid.matrix.cols.div_ceil(span_cols(grid.matrix))
}

/// Words before the exceptions.
fn head_words(grid: &Grid, row_blocks: usize) -> usize {
    row_blocks * spans(grid) * LANES + row_blocks + 1
}

/// The places of the table of these rows, which are whole row blocks; `None` where numbers are too large for it.
pub(in crate::gpu) fn places(grid: &Grid, rows: &[Row], format: TieredFormat) -> Option<Places> {
    let row_blocks = rows.len().div_ceil(LANES);
    let sum = |of: fn(&super::row::Stream) -> u32| {
        rows.iter().try_fold(0u32, |sum, row| sum.checked_add(of(&row.stream(format))))
    };
    let (exceptions, words) = (sum(|stream| stream.exceptions)?, sum(|stream| stream.words())?);
    if words >> START_BITS != 0 {
        return None;
    }
    let head = u32::try_from(head_words(grid, row_blocks)).ok()?;
    let streams = head.checked_add(exceptions)?;
    let len = streams.checked_add(words)?.checked_add(BEHIND as u32)?;
    let firsts = head - row_blocks as u32 - 1;
    Some(Places { firsts, exceptions: head, streams, len })
}

/// Of each row its base with where its stream begins, as the table has them, and its first exception among those of the
/// part.
pub(super) fn row_starts(rows: &[Row], format: TieredFormat) -> Vec<[u32; 2]> {
    let (mut start, mut exceptions) = (0, 0);
    let next = |row: &Row| {
        let stream = row.stream(format);
        let found = [stream.base << START_BITS | start, exceptions];
        start += stream.words();
        exceptions += stream.exceptions;
        found
    };
    rows.iter().map(next).collect()
}

/// The words of the table before the exceptions. Where spans begin is still zero.
pub(in crate::gpu) fn table(grid: &Grid, rows: &[Row], format: TieredFormat) -> Vec<u32> {
    let row_blocks = rows.len().div_ceil(LANES);
    let mut words = vec![0; head_words(grid, row_blocks)];
    let firsts = words.len() - row_blocks - 1;
    for (b, row_block) in row_starts(rows, format).chunks(LANES).enumerate() {
        words[firsts + b] = row_block[0][1];
        for (lane, [start, _]) in row_block.iter().enumerate() {
            words[b * spans(grid) * LANES + lane] = *start;
        }
    }
    words[firsts + row_blocks] = rows.iter().map(|row| row.stream(format).exceptions).sum();
    words
}

/// What `transcode_tiered.wgsl` has as `row_places`, for a table that begins at word `at`.
pub(in crate::gpu) fn row_places(grid: &Grid, rows: &[Row], format: TieredFormat, at: u32) -> Vec<u32> {
    let Some(Places { exceptions, streams, .. }) = places(grid, rows, format) else { return Vec::new() };
    let mut words = vec![at, at + exceptions, at + streams, 0];
    words.extend(row_starts(rows, format).as_flattened());
    words
}

/// The most that the table of `row_blocks` row blocks of a matrix can take that does not stay dense.
pub(in crate::gpu) fn most_table_bytes(grid: &Grid, row_blocks: usize) -> u64 {
    let weights = (row_blocks * LANES * chunks(grid.matrix.cols) * WIDE_CHUNK) as u64;
    // A stream may end with a word of which one bit is used.
    let streams = weights * MOST_BITS.0 / MOST_BITS.1 / 8 + 4 * (row_blocks * LANES) as u64;
    4 * (head_words(grid, row_blocks) + BEHIND) as u64 + streams
}
