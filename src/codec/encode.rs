//! From a tensor's bytes to its payload.

use std::ops::Range;

use rayon::prelude::*;

use super::checksum::checksum;
use super::error::CodecError;
use super::grid::{Grid, LANES, SECTION_ALIGN};
use super::head::{self, TileEntry, Tiled, Writer};
use super::huffman::{self, MAX_CODE_BITS};
use super::plan::{Histogram, Plan};
use super::split::Split;
use super::spread::gather;
use crate::tensor::{Dtype, Matrix};

/// Bytes that are counted by one thread at a time.
const HISTOGRAM_BLOCK: usize = 4 << 20;

/// Encodes a tensor of `dtype` and `shape` whose little-endian bytes are `data`.
///
/// The payload is tiled where that is smaller, and raw otherwise. It does not depend on the number
/// of threads: the work is spread over the current rayon pool.
pub fn encode(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Vec<u8>, CodecError> {
    encode_planned(dtype, shape, data, Plan::smallest)
}

/// As [`encode`], with so many mantissa bits coded whether or not that is the smallest split.
pub fn encode_with_top_bits(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    top_bits: u8,
) -> Result<Vec<u8>, CodecError> {
    encode_planned(dtype, shape, data, |histogram| Plan::with_top_bits(histogram, top_bits))
}

fn encode_planned(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    choose: impl Fn(&Histogram) -> Option<Plan>,
) -> Result<Vec<u8>, CodecError> {
    let matrix = check_length(dtype, shape, data)?;
    let code =
        head::dtype_code(dtype).ok_or(CodecError::BadHead("an element type this version does not know"))?;
    let raw_len = raw_payload_len(code, data.len());
    if let Some(plan) = plan(dtype, matrix, data, raw_len, choose) {
        let grid = Grid::for_matrix(matrix);
        if let Some(payload) = encode_tiled(code, &grid, &plan, data).filter(|p| p.len() < raw_len) {
            return Ok(payload);
        }
    }
    Ok(encode_raw(code, data))
}

fn check_length(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Matrix, CodecError> {
    let wrong =
        |expected| CodecError::WrongLength { dtype, shape: shape.to_vec(), expected, actual: data.len() };
    let matrix = Matrix::of_shape(shape).ok_or(wrong(usize::MAX))?;
    let expected = matrix.len().checked_mul(dtype.bitsize()).ok_or(wrong(usize::MAX))?.div_ceil(8);
    if expected == data.len() { Ok(matrix) } else { Err(wrong(expected)) }
}

/// The plan for a tiled payload, where one could be smaller than `raw_len` bytes.
fn plan(
    dtype: Dtype,
    matrix: Matrix,
    data: &[u8],
    raw_len: usize,
    choose: impl Fn(&Histogram) -> Option<Plan>,
) -> Option<Plan> {
    let too_large = |n: usize| u32::try_from(n).is_err();
    if dtype != Dtype::BF16 || matrix.is_empty() || too_large(matrix.rows) || too_large(matrix.cols) {
        return None;
    }
    let histogram =
        data.par_chunks(HISTOGRAM_BLOCK).map(Histogram::of_bf16).reduce_with(|a, b| a.merge(&b))?;
    let plan = choose(&histogram)?;
    (plan.bits / 8 < raw_len as u64).then_some(plan)
}

fn raw_payload_len(code: u8, len: usize) -> usize {
    let groups = head::raw_ranges(0, len).count();
    Writer::new(code, len).padded_len(groups) + len.next_multiple_of(SECTION_ALIGN)
}

fn encode_raw(code: u8, data: &[u8]) -> Vec<u8> {
    let writer = Writer::new(code, data.len());
    let groups: Vec<Range<usize>> = head::raw_ranges(0, data.len()).collect();
    let mut payload = vec![0; writer.padded_len(groups.len())];
    let head_len = payload.len();
    payload.extend_from_slice(data);
    payload.resize(head_len + data.len().next_multiple_of(SECTION_ALIGN), 0);
    let sums: Vec<u64> =
        groups.into_par_iter().map(|r| checksum(&payload[head_len + r.start..head_len + r.end])).collect();
    let head = writer.finish(&sums, payload.len());
    payload[..head_len].copy_from_slice(&head);
    payload
}

/// One row block's share of every section.
struct Block {
    tiles: Vec<TileEntry>,
    coded: Vec<u8>,
    planes: Vec<Vec<u32>>,
}

/// `None` where the coded plane is too long for the tile table's 32-bit word offsets.
fn encode_tiled(code: u8, grid: &Grid, plan: &Plan, data: &[u8]) -> Option<Vec<u8>> {
    let coder = Coder::new(plan);
    let row_bytes = 2 * grid.matrix.cols;
    let mut blocks: Vec<Block> =
        data.par_chunks(LANES * row_bytes).map(|rows| encode_row_block(&coder, grid, rows)).collect();
    let tiles = place_tiles(&mut blocks)?;

    let mut writer = Writer::new(code, data.len());
    writer.tiled(grid, &plan.split, plan.first_symbol, &plan.lengths);
    let table_end = writer.padded_len(0);
    writer.tiles(&tiles);
    let mut tiled = Tiled {
        grid: *grid,
        split: plan.split,
        first_symbol: plan.first_symbol,
        lengths: plan.lengths.clone(),
        tiles,
        group_row_blocks: head::group_row_blocks(grid),
        tile_table: table_end..table_end,
        coded: 0..0,
        planes: Vec::new(),
    };
    let plane_count = plan.split.planes().len();
    let head_len = writer.padded_len(tiled.groups() * (1 + plane_count));

    let mut payload = vec![0; head_len];
    blocks.iter().for_each(|b| payload.extend_from_slice(&b.coded));
    payload.resize(payload.len().next_multiple_of(SECTION_ALIGN), 0);
    tiled.coded = head_len..payload.len();
    for plane in 0..plane_count {
        let start = payload.len();
        for block in &blocks {
            payload.extend(block.planes[plane].iter().flat_map(|w| w.to_le_bytes()));
        }
        tiled.planes.push(start..payload.len());
    }
    drop(blocks);
    let sums: Vec<u64> =
        head::tiled_ranges(&tiled).into_par_iter().map(|(_, _, range)| checksum(&payload[range])).collect();
    let head = writer.finish(&sums, payload.len());
    payload[..head_len].copy_from_slice(&head);
    Some(payload)
}

/// Turns each block's tile offsets into offsets from the start of the plane.
fn place_tiles(blocks: &mut [Block]) -> Option<Vec<TileEntry>> {
    let mut tiles = Vec::new();
    let mut word = 0usize;
    for block in blocks {
        for mut tile in block.tiles.drain(..) {
            tile.word = u32::try_from(word + tile.word as usize).ok()?;
            tiles.push(tile);
        }
        word += block.coded.len() / 4;
    }
    Some(tiles)
}

/// What the inner loop looks up.
struct Coder {
    split: Split,
    first_symbol: u16,
    /// `code << 8 | length` by symbol, counted from `first_symbol`.
    codes: Vec<u32>,
}

impl Coder {
    fn new(plan: &Plan) -> Self {
        let codes = huffman::canonical_codes(&plan.lengths);
        let codes =
            codes.iter().zip(&plan.lengths).map(|(&c, &l)| u32::from(c) << 8 | u32::from(l)).collect();
        Self { split: plan.split, first_symbol: plan.first_symbol, codes }
    }
}

fn encode_row_block(coder: &Coder, grid: &Grid, rows: &[u8]) -> Block {
    let words = |&w: &u8| vec![0u32; grid.lane_words(usize::from(w)) * LANES];
    let mut block = Block {
        tiles: Vec::new(),
        coded: Vec::new(),
        planes: coder.split.planes().iter().map(words).collect(),
    };
    let mut bits = BitWriter::new(LANES * grid.tile_cols * MAX_CODE_BITS as usize);
    for col_tile in 0..grid.col_tiles {
        let first = col_tile * grid.tile_cols;
        let cols = first..first + grid.cols_in(col_tile);
        let mut lens = [0u16; LANES];
        for (lane, row) in rows.chunks_exact(2 * grid.matrix.cols).enumerate() {
            let row = &row[2 * cols.start..2 * cols.end];
            lens[lane] = put_lane(coder, row, &mut bits);
            put_planes(coder, row, first, lane, &mut block.planes);
        }
        let present = rows.len() / (2 * grid.matrix.cols);
        let entry = put_tile(&mut block.coded, &lens[..present], bits.finish());
        block.tiles.push(entry);
    }
    block
}

/// Appends one lane's codes and returns how many bits they take.
fn put_lane(coder: &Coder, row: &[u8], bits: &mut BitWriter) -> u16 {
    let start = bits.len();
    let code = |element: u16| coder.codes[usize::from(coder.split.symbol(element) - coder.first_symbol)];
    let mut fours = row.chunks_exact(8);
    for four in &mut fours {
        let four = u64::from_le_bytes(four.try_into().expect("eight bytes"));
        for i in 0..4 {
            bits.put(code((four >> (16 * i)) as u16));
        }
        bits.flush();
    }
    for element in fours.remainder().chunks_exact(2) {
        bits.put(code(u16::from_le_bytes([element[0], element[1]])));
        bits.flush();
    }
    (bits.len() - start) as u16
}

/// Writes one lane's part of a tile into the raw planes.
fn put_planes(coder: &Coder, row: &[u8], first_col: usize, lane: usize, planes: &mut [Vec<u32>]) {
    let split = coder.split;
    for (i, four) in row.chunks(8).enumerate() {
        let mut padded = [0; 8];
        padded[..four.len()].copy_from_slice(four);
        let raw = split.raw_of_four(u64::from_le_bytes(padded));
        for (plane, words) in planes.iter_mut().enumerate() {
            let width = usize::from(split.planes()[plane]);
            let bit = (first_col + 4 * i) * width;
            let fields = gather(raw >> split.plane_shift(plane), width as u32);
            words[bit / 32 * LANES + lane] |= fields << (bit % 32);
        }
    }
}

/// Appends a tile, lane index first, and returns its entry with the offset from `coded`'s start.
fn put_tile(coded: &mut Vec<u8>, lens: &[u16], stream: &[u8]) -> TileEntry {
    let base = *lens.iter().min().expect("a tile has a row");
    let most = lens.iter().map(|len| len - base).max().expect("a tile has a row");
    let entry = TileEntry { word: (coded.len() / 4) as u32, base_bits: base, wide: most > 255 };
    let start = coded.len();
    for len in lens.iter().map(|len| len - base) {
        coded.push(len as u8);
        if entry.wide {
            coded.push((len >> 8) as u8);
        }
    }
    coded.resize(start + 4 * entry.index_words(), 0);
    coded.extend_from_slice(stream);
    coded.resize(coded.len().next_multiple_of(4), 0);
    entry
}

/// Writes codes into a buffer, low bits first.
struct BitWriter {
    buffer: Vec<u8>,
    /// Whole bytes written.
    at: usize,
    pending: u64,
    /// Bits in `pending`; below 8 after a flush.
    pending_bits: u32,
}

impl BitWriter {
    fn new(capacity_bits: usize) -> Self {
        Self { buffer: vec![0; capacity_bits / 8 + 16], at: 0, pending: 0, pending_bits: 0 }
    }

    /// Bits written so far.
    fn len(&self) -> usize {
        8 * self.at + self.pending_bits as usize
    }

    /// Adds `code << 8 | length`. At most four between two flushes.
    fn put(&mut self, entry: u32) {
        self.pending |= u64::from(entry >> 8) << self.pending_bits;
        self.pending_bits += entry & 0xff;
    }

    fn flush(&mut self) {
        self.buffer[self.at..self.at + 8].copy_from_slice(&self.pending.to_le_bytes());
        self.at += (self.pending_bits / 8) as usize;
        self.pending >>= self.pending_bits & !7;
        self.pending_bits &= 7;
    }

    /// The bytes written, the last one padded with zeros; the writer starts over.
    fn finish(&mut self) -> &[u8] {
        self.buffer[self.at] = self.pending as u8;
        let len = self.len().div_ceil(8);
        (self.at, self.pending, self.pending_bits) = (0, 0, 0);
        &self.buffer[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::head::Kind;
    use super::*;

    #[test]
    fn payloads_do_not_depend_on_the_number_of_threads() {
        let data: Vec<u8> = (0..200 * 300u32)
            .flat_map(|i| ((i.wrapping_mul(2654435761) >> 23) as u16).to_le_bytes())
            .collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| encode(Dtype::BF16, &[200, 300], &data).unwrap())
        };
        assert_eq!(with(1), with(3));
        assert!(matches!(head::Head::parse(&with(1)).unwrap().kind, Kind::Tiled(_)));
    }

    #[test]
    fn data_of_the_wrong_length_is_refused() {
        let error = encode(Dtype::BF16, &[2, 3], &[0; 11]).unwrap_err();
        assert_eq!(error.to_string(), "BF16 of shape [2, 3] should be 12 bytes, but 11 were given");
    }
}
