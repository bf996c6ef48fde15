//! The fast layout of BF16: 12 bits per weight, each at a place that follows from its column, and a list of
//! exceptions for weights that do not fit. `shaders/shared/fast.wgsl` describes the layout.

use super::layout::Layout;
use crate::codec::grid::{Grid, LANES};
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK, span_cols};
use crate::gpu::{Invocations, InvocationsByStorage, Target, Texel, Variant, WidenFrom};
use crate::tensor::Dtype;

/// Number of chunks that an exception can name. The last 13-bit number names no chunk: the mark after the
/// last exception, `NO_ENTRY` of `shaders/shared/fast.wgsl`, has all bits set.
const MAX_CHUNKS: usize = (1 << 13) - 1;

/// Bytes of one lane's chunk.
const CHUNK_BYTES: usize = 48;

/// A matrix stays dense if more than one weight in this many is an exception.
const MOST_EXCEPTIONS: u64 = 128;

/// A matrix also stays dense if a row block has more exceptions, because each is an iteration of a loop.
pub(in crate::gpu) const MOST_OF_ROW_BLOCK: u64 = 1 << 14;

/// Code 0 stands for zeros if that avoids at least one exception per this many weights.
const MANY_ZEROS: u64 = 1024;

/// Words of the table for the lowest exponents of a row block.
const LOWEST_WORDS: usize = LANES / 4;

/// Iterations of the loops for a chunk: each group of eight weights has two loops for exceptions.
const CHUNK_ROUNDS: u64 = 1 + 4 * 5;

/// The unit in which shaders read.
pub(in crate::gpu) const TEXEL: Texel = Texel::Vector;

/// The property in which matrices in the fast layout differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastFormat {
    /// Whether code 0 stands for the exponent 0.
    pub zeros: bool,
}

/// All formats.
pub(super) fn samples(_: Option<Target>) -> Vec<FastFormat> {
    [false, true].map(|zeros| FastFormat { zeros }).into()
}

impl Layout for FastFormat {
    fn name(&self) -> String {
        if self.zeros { "fast.zeros" } else { "fast" }.into()
    }

    fn apply(&self, variant: Variant) -> Variant {
        variant.flag("FAST").flag("UNROLLED").flag_if(self.zeros, "ZEROS")
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

    fn exceptions_are_rare(&self) -> bool {
        true
    }

    fn invocations(&self, by: &InvocationsByStorage) -> Invocations {
        by.fast
    }

    fn widen_from(&self, from: &WidenFrom) -> usize {
        from.fast
    }

    fn skip_row_blocks(&self, params: &mut MatrixParams, count: u32) {
        params.words_at += count * row_block_vectors(params.cols);
        params.table_at += count * LOWEST_WORDS as u32;
        params.tiles_at += count * params.spans;
    }

    fn move_to(&self, params: &mut MatrixParams, at: u64, table: u32) {
        params.tiles_at += table;
        params.coded_at += table;
        params.words_at = (at / 16) as u32;
    }

    fn product_rounds(&self, params: &MatrixParams, _: u64) -> u64 {
        weight_rounds(u64::from(params.cols))
    }
}

/// Maximum iterations of an invocation's loops over rows of this many columns.
fn weight_rounds(cols: u64) -> u64 {
    CHUNK_ROUNDS * cols.div_ceil(WIDE_CHUNK as u64) + MOST_OF_ROW_BLOCK
}

/// The same for a product with such rows, including the sums of spans.
pub(in crate::gpu) fn row_rounds(cols: usize) -> u64 {
    weight_rounds(cols as u64) + 2 * cols.div_ceil(LANES) as u64
}

/// Whether the layout supports a matrix of `dtype`.
pub(in crate::gpu) fn suits(dtype: Dtype, grid: &Grid) -> bool {
    dtype == Dtype::BF16 && chunks(grid) <= MAX_CHUNKS
}

fn chunks(grid: &Grid) -> usize {
    grid.matrix.cols.div_ceil(WIDE_CHUNK)
}

/// Bytes of a row block's weights, without the exceptions.
pub(in crate::gpu) fn row_block_bytes(grid: &Grid) -> usize {
    chunks(grid) * CHUNK_BYTES * LANES
}

/// Four-word vectors in a row block of this many columns.
fn row_block_vectors(cols: u32) -> u32 {
    cols.div_ceil(WIDE_CHUNK as u32) * (CHUNK_BYTES * LANES / 16) as u32
}

/// Maximum bytes of `row_blocks` row blocks of a matrix that does not [stay dense](choose).
pub(in crate::gpu) fn most_bytes(grid: &Grid, row_blocks: usize) -> u64 {
    let weights = (row_blocks * LANES) as u64 * grid.matrix.cols as u64;
    let table = entries_at(grid, row_blocks) as u64 + weights / MOST_EXCEPTIONS;
    (row_blocks * row_block_bytes(grid)) as u64 + 4 * table
}

/// Words of the measurements of a row.
pub(in crate::gpu) const ROW_WORDS: usize = 3;

/// The measurements of a row before it is transcoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gpu) struct Row {
    /// The lowest exponent that has a code.
    pub lowest: u32,
    /// Number of weights without a code, if code 0 is the lowest exponent, and if it is the exponent 0.
    pub without: [u32; 2],
}

impl Row {
    /// Number of its exceptions.
    pub fn exceptions(&self, format: FastFormat) -> u32 {
        self.without[usize::from(format.zeros)]
    }
}

/// The format of a matrix with these rows; `None` if it should stay dense.
pub(in crate::gpu) fn choose(grid: &Grid, rows: &[Row]) -> Option<FastFormat> {
    let sum = |i: usize| rows.iter().map(|row| u64::from(row.without[i])).sum::<u64>();
    let [plain, zeros] = [0, 1].map(sum);
    let weights = rows.len() as u64 * grid.matrix.cols as u64;
    // Columns after the last must be zeros.
    let ragged = !grid.matrix.cols.is_multiple_of(WIDE_CHUNK);
    let with_zeros = ragged || plain > zeros + weights / MANY_ZEROS;
    let exceptions = if with_zeros { zeros } else { plain };
    let of_row_block =
        |rows: &[Row]| rows.iter().map(|row| u64::from(row.without[usize::from(with_zeros)])).sum::<u64>();
    let most = rows.chunks(LANES).map(of_row_block).max().unwrap_or(0);
    let fits = exceptions <= weights / MOST_EXCEPTIONS && most <= MOST_OF_ROW_BLOCK;
    fits.then_some(FastFormat { zeros: with_zeros })
}

/// The table of a part's rows, with space for its exceptions. Where they begin is right only if there are none.
pub(in crate::gpu) fn table(grid: &Grid, rows: &[Row], format: FastFormat) -> Vec<u32> {
    let row_blocks = rows.chunks(LANES);
    let mut words = vec![0; entries_at(grid, row_blocks.len())];
    for (b, row_block) in row_blocks.enumerate() {
        for (lane, row) in row_block.iter().enumerate() {
            words[LOWEST_WORDS * b + lane / 4] |= row.lowest << (8 * (lane % 4));
        }
    }
    let exceptions: u32 = rows.iter().map(|row| row.exceptions(format)).sum();
    words.resize(words.len() + exceptions as usize, 0);
    words
}

/// The data for transcoding besides the table: for each row, the index of its first exception in the part;
/// the end of the last row's; and space for all exceptions.
pub(in crate::gpu) fn found(rows: &[Row], format: FastFormat) -> Vec<u32> {
    let mut words = vec![0];
    let mut before = 0;
    for row in rows {
        before += row.exceptions(format);
        words.push(before);
    }
    words.resize(words.len() + before as usize, 0);
    words
}

/// Where exceptions begin, which were found row by row, and then the exceptions, in the order of the table.
pub(in crate::gpu) fn in_order(grid: &Grid, found: &mut [u32], rows: &[Row], format: FastFormat) -> Vec<u32> {
    let (mut rest, mut words, mut before) = (&mut *found, Vec::new(), 0);
    for row_block in rows.chunks(LANES) {
        let count: u32 = row_block.iter().map(|row| row.exceptions(format)).sum();
        let (own, others) = rest.split_at_mut(rest.len().min(count as usize));
        own.sort_unstable();
        words.extend(starts(grid, own).map(|start| before + start));
        before += own.len() as u32;
        rest = others;
    }
    words.push(before);
    words.extend_from_slice(found);
    words
}

/// How many of a row block's exceptions, which are in order, are before each span.
fn starts(grid: &Grid, exceptions: &[u32]) -> impl Iterator<Item = u32> {
    let chunks = span_cols(grid.matrix) / WIDE_CHUNK;
    (0..spans(grid))
        .map(move |span| exceptions.partition_point(|&e| ((e >> 19) as usize) < span * chunks) as u32)
}

/// Spans of a row.
fn spans(grid: &Grid) -> usize {
    grid.matrix.cols.div_ceil(span_cols(grid.matrix))
}

/// Maximum bytes of this data for a matrix that does not [stay dense](choose).
pub(in crate::gpu) fn most_found_bytes(rows: usize, cols: usize) -> u64 {
    4 * (rows as u64 + 1 + rows as u64 * cols as u64 / MOST_EXCEPTIONS)
}

/// Word of the table at which the indices of the first exceptions of each span of each row block begin.
pub(in crate::gpu) fn starts_at(row_blocks: usize) -> usize {
    LOWEST_WORDS * row_blocks
}

/// Word of the table at which the exceptions begin.
pub(in crate::gpu) fn entries_at(grid: &Grid, row_blocks: usize) -> usize {
    starts_at(row_blocks) + row_blocks * spans(grid) + 1
}

/// A part of a matrix as it is in device memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastWords {
    /// Whether code 0 stands for the exponent 0.
    pub zeros: bool,
    /// The weights.
    pub weights: Vec<[u32; 4]>,
    /// Lowest exponents, first exceptions, exceptions.
    pub table: Vec<u32>,
}

/// The twin of `measure.wgsl`, for one row.
pub(in crate::gpu) fn measure(row: &[u16]) -> Row {
    let exponents = || row.iter().map(|&bits| u32::from(bits >> 7 & 255));
    let largest = exponents().filter(|&e| e < 255).max().unwrap_or(0);
    let lowest = largest.saturating_sub(15);
    let plain = exponents().filter(|&e| code(e, lowest, false).is_none()).count();
    let zeros = exponents().filter(|&e| code(e, lowest, true).is_none()).count();
    Row { lowest, without: [plain as u32, zeros as u32] }
}

/// The code of an exponent.
fn code(exponent: u32, lowest: u32, zeros: bool) -> Option<u32> {
    match zeros {
        true if exponent == 0 => Some(0),
        _ => exponent.checked_sub(lowest).filter(|&code| code >= u32::from(zeros) && code <= 15),
    }
}

/// The twin of `measure.wgsl` and `transcode.wgsl` for a whole row-major matrix of BF16, in one part. `None`
/// if it should stay dense.
pub fn transcode(grid: &Grid, bits: &[u16]) -> Option<FastWords> {
    let rows: Vec<Row> = bits.chunks_exact(grid.matrix.cols).map(measure).collect();
    let format = choose(grid, &rows)?;
    let mut table = table(grid, &rows, format);
    let mut weights = vec![[0; 4]; row_block_bytes(grid) / 16 * grid.row_blocks];
    let mut found = Vec::new();
    for row_block in 0..grid.row_blocks {
        for chunk in 0..chunks(grid) {
            for lane in 0..grid.rows_in(row_block) {
                let row = row_block * LANES + lane;
                let cols = &bits[row * grid.matrix.cols..][..grid.matrix.cols];
                let cols = cols[chunk * WIDE_CHUNK..].iter().take(WIDE_CHUNK);
                let mut pairs = [0u32; 16];
                for (col, &bits) in cols.enumerate() {
                    let exponent = u32::from(bits >> 7 & 255);
                    let code = code(exponent, rows[row].lowest, format.zeros);
                    if code.is_none() {
                        let eight = 4 * chunk + col / 8;
                        found.push((eight << 17 | lane << 11 | (col % 8) << 8) as u32 | exponent);
                    }
                    let half = u32::from(bits & 0x807f) | code.unwrap_or(0) << 7;
                    pairs[col / 2] |= half << (16 * (col % 2));
                }
                let at = ((row_block * chunks(grid) + chunk) * 3) * LANES + lane;
                for (v, vector) in pack(pairs).into_iter().enumerate() {
                    weights[at + v * LANES] = vector;
                }
            }
        }
    }
    table[starts_at(grid.row_blocks)..].copy_from_slice(&in_order(grid, &mut found, &rows, format));
    Some(FastWords { zeros: format.zeros, weights, table })
}

/// Packs sixteen words of two weights into twelve words.
fn pack(pairs: [u32; 16]) -> [[u32; 4]; 3] {
    let word = |v: usize, i: usize| {
        let last = pairs[12 + i];
        let others = match v {
            0 => (last & 0x000f_000f) << 11,
            1 => (last & 0x00f0_00f0) << 7,
            _ => (last & 0x0700_0700) << 3 | (last & 0x8000_8000) >> 1,
        };
        pairs[4 * v + i] | others
    };
    [0, 1, 2].map(|v| [0, 1, 2, 3].map(|i| word(v, i)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Matrix;

    #[test]
    fn a_row_block_with_very_many_exceptions_keeps_a_matrix_dense() {
        let grid = Grid::for_matrix(Matrix { rows: 64 * 200, cols: 1024 });
        let row = |i: usize, without| Row { lowest: 100, without: [if i < 64 { without } else { 0 }; 2] };
        let rows = |without| (0..64 * 200).map(|i| row(i, without)).collect::<Vec<_>>();
        assert!(choose(&grid, &rows(256)).is_some());
        assert!(choose(&grid, &rows(257)).is_none());
    }

    #[test]
    fn what_follows_the_last_exception_is_in_no_chunk() {
        let grid = |cols| Grid::for_matrix(Matrix { rows: 1, cols });
        let widest = MAX_CHUNKS * WIDE_CHUNK;
        assert!(suits(Dtype::BF16, &grid(widest)));
        assert!(!suits(Dtype::BF16, &grid(widest + 1)) && !suits(Dtype::BF16, &grid(widest + WIDE_CHUNK)));
        let no_entry = u32::MAX;
        assert_eq!((no_entry >> 19) as usize, MAX_CHUNKS);
        // The widest matrix's last possible exception must fit the available bits.
        let last_eight = (widest / 8 - 1) as u32;
        assert!(last_eight << 17 >> 17 == last_eight && last_eight < no_entry >> 17);
    }
}
