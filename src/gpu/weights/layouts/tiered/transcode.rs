//! The twin of `measure_tiered.wgsl` and `transcode_tiered.wgsl`, and what `shaders/shared/tiered.wgsl` reads of it.

use super::choosing::choose;
use super::row::Row;
use super::table::{places, row_starts, table};
use super::tier::{MORE, MORE_BITS, NONE, Tier, exponent, tier};
use super::{START_BITS, TieredFormat, WINDOW_BITS, WINDOW_COLS, lane_vectors, row_block_bytes};
use crate::codec::grid::{Grid, LANES};
use crate::gpu::weights::matrix_params::{WIDE_CHUNK, span_cols};

/// What is in device memory for a part of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TieredWords {
    /// The last code stands for the exponent 0.
    pub zeros: bool,
    /// Signs, mantissas and tags.
    pub vectors: Vec<[u32; 4]>,
    /// Where streams and exceptions begin, exceptions, streams.
    pub table: Vec<u32>,
}

/// A whole matrix of BF16, row-major, in one part. `None` where it had better stay dense.
pub fn transcode(grid: &Grid, bits: &[u16]) -> Option<TieredWords> {
    let cols = grid.matrix.cols;
    let rows: Vec<Row> = bits.chunks_exact(cols).map(Row::measure).collect();
    let format = choose(grid, &rows)?;
    let at = places(grid, &rows, format)?;
    let mut words = table(grid, &rows, format);
    words.resize(at.len as usize, 0);
    let starts_of_rows = row_starts(&rows, format);
    let mut vectors = vec![[0; 4]; row_block_bytes(grid) / 16 * grid.row_blocks];
    let spans = cols.div_ceil(span_cols(grid.matrix));
    for (row, (bits, &[_, first])) in bits.chunks_exact(cols).zip(&starts_of_rows).enumerate() {
        let (row_block, lane) = (row / LANES, row % LANES);
        let starts = row_block * spans * LANES + lane;
        let start = words[starts];
        let base = start >> START_BITS;
        let coded = code_row(bits, base, format);
        for (i, (col, exponent)) in coded.exceptions.iter().enumerate() {
            let key = (lane << 18 | col) as u32;
            words[at.exceptions as usize + first as usize + i] = key << 8 | exponent;
        }
        let stream = (at.streams + (start & ((1 << START_BITS) - 1))) as usize;
        words[stream..stream + coded.stream.len()].copy_from_slice(&coded.stream);
        for (span, &bit) in coded.windows.iter().step_by(span_cols(grid.matrix) / WINDOW_COLS).enumerate() {
            if span > 0 {
                words[starts + span * LANES] = bit;
            }
        }
        let block = &mut vectors[row_block * lane_vectors(cols) * LANES..];
        for (v, vector) in coded.vectors.into_iter().enumerate() {
            block[v * LANES + lane] = vector;
        }
    }
    Some(TieredWords { zeros: format.zeros, vectors, table: words })
}

/// What is stored of a row.
struct CodedRow {
    vectors: Vec<[u32; 4]>,
    stream: Vec<u32>,
    /// The bit of the stream with which each window begins.
    windows: Vec<u32>,
    /// Column and exponent.
    exceptions: Vec<(usize, u32)>,
}

fn code_row(bits: &[u16], base: u32, format: TieredFormat) -> CodedRow {
    let mut coded = CodedRow {
        vectors: (0..lane_vectors(bits.len())).map(|v| [if v % 5 == 2 { NO_TAGS } else { 0 }; 4]).collect(),
        stream: Vec::new(),
        windows: Vec::new(),
        exceptions: Vec::new(),
    };
    let (mut bit, mut window) = (0, 0);
    for (col, &unit) in bits.iter().enumerate() {
        if col.is_multiple_of(WINDOW_COLS) {
            coded.windows.push(bit);
            window = 0;
        }
        let exponent = u32::from(unit >> 7 & 255);
        let found = tier(exponent, base, format).filter(|tier| window + tier.bits <= WINDOW_BITS);
        let Tier { tag, field, bits } = found.unwrap_or_else(|| {
            coded.exceptions.push((col, exponent));
            Tier { tag: NONE, field: 0, bits: 0 }
        });
        put(&mut coded.stream, bit, field, bits);
        bit += bits;
        window += bits;
        put_fixed(&mut coded.vectors, col, unit, tag);
    }
    coded
}

/// Puts a field at a bit of a stream.
fn put(stream: &mut Vec<u32>, bit: u32, field: u32, bits: u32) {
    let wide = u64::from(field) << (bit % 32);
    let word = (bit / 32) as usize;
    stream.resize(stream.len().max((bit + bits).div_ceil(32) as usize), 0);
    for (i, half) in [wide as u32, (wide >> 32) as u32].into_iter().enumerate() {
        if half != 0 {
            stream[word + i] |= half;
        }
    }
}

/// Where in a lane's vectors a column's sign and mantissa are, and its tag.
struct Place {
    /// Vector and word.
    signs: (usize, usize),
    /// The bit of the mantissa's lowest, and that of the sign.
    mantissa: u32,
    sign: u32,
    /// Vector and word.
    tags: (usize, usize),
    tag: u32,
}

impl Place {
    fn of(col: usize) -> Self {
        let (chunk, in_chunk) = (col / WIDE_CHUNK, col % WIDE_CHUNK);
        let (half, in_half) = (in_chunk / WINDOW_COLS, in_chunk % WINDOW_COLS);
        let pair = 5 * (chunk / 2);
        let (word, high) = (in_half % 4, 16 * (in_half / 4 % 2) as u32);
        // Two weights share half a word: the second's sign lies between the mantissas.
        let (mantissa, sign) = if in_half < 8 { (high, high + 15) } else { (high + 8, high + 7) };
        Self {
            signs: (pair + 3 * (chunk % 2) + half, word),
            mantissa,
            sign,
            tags: (pair + 2, 2 * (chunk % 2) + half),
            tag: (4 * (in_half % 8) + 2 * (in_half / 8)) as u32,
        }
    }
}

/// The word of tags of sixteen columns that the matrix does not have.
const NO_TAGS: u32 = 0x5555_5555;

fn put_fixed(vectors: &mut [[u32; 4]], col: usize, unit: u16, tag: u32) {
    let place = Place::of(col);
    let unit = u32::from(unit);
    vectors[place.signs.0][place.signs.1] |= (unit & 127) << place.mantissa | (unit >> 15) << place.sign;
    vectors[place.tags.0][place.tags.1] ^= (tag ^ NONE) << place.tag;
}

/// The weights of a whole matrix in one part, row-major: what readers make of it.
pub fn weights(grid: &Grid, tiered: &TieredWords) -> Vec<u16> {
    let (cols, spans) = (grid.matrix.cols, grid.matrix.cols.div_ceil(span_cols(grid.matrix)));
    let format = TieredFormat { zeros: tiered.zeros };
    let firsts = grid.row_blocks * spans * LANES;
    let exceptions_at = firsts + grid.row_blocks + 1;
    let streams_at = exceptions_at + tiered.table[firsts + grid.row_blocks] as usize;
    let mut all = Vec::with_capacity(grid.matrix.rows * cols);
    for row in 0..grid.matrix.rows {
        let (row_block, lane) = (row / LANES, row % LANES);
        let start = tiered.table[row_block * spans * LANES + lane];
        let stream = &tiered.table[streams_at + (start & ((1 << START_BITS) - 1)) as usize..];
        let base = start >> START_BITS;
        let vector = |v: usize| tiered.vectors[(row_block * lane_vectors(cols) + v) * LANES + lane];
        let mut bit = 0;
        let first = all.len();
        for col in 0..cols {
            let place = Place::of(col);
            let word = vector(place.signs.0)[place.signs.1];
            let tag = vector(place.tags.0)[place.tags.1] >> place.tag & 3;
            let mut take = |bits| {
                let field = bits_at(stream, bit, bits);
                bit += bits;
                field
            };
            let mut tier = Tier { tag, field: 0, bits: 0 };
            if tag == MORE {
                tier.field = take(MORE_BITS);
            }
            let fixed = (word >> place.sign & 1) << 15 | word >> place.mantissa & 127;
            all.push((fixed | exponent(tier, base, format) << 7) as u16);
        }
        let of_row_block =
            tiered.table[firsts + row_block] as usize..tiered.table[firsts + row_block + 1] as usize;
        for entry in &tiered.table[exceptions_at..][of_row_block] {
            if (entry >> 26) as usize == lane {
                let unit = &mut all[first + (entry >> 8 & 0x3_ffff) as usize];
                *unit = *unit & 0x807f | ((entry & 255) << 7) as u16;
            }
        }
    }
    all
}

fn bits_at(stream: &[u32], bit: u32, bits: u32) -> u32 {
    let word = (bit / 32) as usize;
    let wide = u64::from(stream[word]) | u64::from(stream.get(word + 1).copied().unwrap_or(0)) << 32;
    (wide >> (bit % 32)) as u32 & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Matrix;

    fn comes_back(rows: usize, cols: usize, of: impl Fn(usize) -> u16) -> usize {
        let grid = Grid::for_matrix(Matrix { rows, cols });
        let bits: Vec<u16> = (0..rows * cols).map(of).collect();
        let tiered = transcode(&grid, &bits).expect("a matrix that has the layout");
        assert!(weights(&grid, &tiered) == bits, "{rows} x {cols}");
        4 * tiered.table.len() + 16 * tiered.vectors.len()
    }

    /// A hash of a number.
    fn random(i: usize) -> u32 {
        let mut x = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 32) as u32
    }

    /// About what weights are like: an exponent is half as frequent as the one above it.
    fn usual(i: usize) -> u16 {
        let exponent = 122 - random(i).trailing_zeros().min(30);
        ((random(i + 7) & 0x807f) | exponent << 7) as u16
    }

    #[test]
    fn usual_weights_come_back_and_are_small() {
        for (rows, cols) in [(1, 1), (64, 32), (65, 33), (130, 576), (64, 1000), (192, 288), (3, 4096)] {
            comes_back(rows, cols, usual);
        }
        let bytes = comes_back(256, 1024, usual);
        assert!(bytes * 8 < 256 * 1024 * 111 / 10, "{bytes}");
    }

    #[test]
    fn zeros_and_every_pattern_come_back_as_exceptions_or_codes() {
        comes_back(64, 576, |i| if random(i).is_multiple_of(20) { 0 } else { usual(i) });
        // One strange weight in a hundred, all patterns between them.
        let strange = |i: usize| if i.is_multiple_of(100) { (i / 100) as u16 } else { usual(i) };
        comes_back(6560, 1024, strange);
    }

    #[test]
    fn a_matrix_without_order_stays_dense() {
        let grid = Grid::for_matrix(Matrix { rows: 64, cols: 512 });
        let bits: Vec<u16> = (0..64 * 512).map(|i| random(i) as u16).collect();
        assert!(transcode(&grid, &bits).is_none());
    }
}
