//! From a tensor's bytes to its payload.

use std::ops::Range;

use rayon::prelude::*;

use super::checksum::checksum;
use super::error::{CodecError, EncodeError};
use super::grid::{CHUNK, Grid, LANES, SECTION_ALIGN};
use super::head::{self, Head, TileEntry, Tiled, Writer};
use super::huffman::{self, MAX_CODE_BITS};
use super::plan::{Histogram, Plan};
use super::split::{ALPHABET, Split};
use super::spread::gather;
use crate::tensor::{Dtype, Matrix};

/// Bytes that are counted by one thread at a time.
const HISTOGRAM_BLOCK: usize = 4 << 20;

/// Bytes that [`encode_to`] hands over at a time.
const PIECE: usize = 4 << 20;

/// Encodes a tensor of `dtype` and `shape` whose little-endian bytes are `data`.
///
/// The payload is tiled where that is smaller, and raw otherwise. It does not depend on the number
/// of threads: the work is spread over the current rayon pool.
pub fn encode(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Vec<u8>, CodecError> {
    encode_planned(dtype, shape, data, Plan::smallest)
}

/// What [`encode_to`] has handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    /// Bytes of the payload.
    pub len: usize,
    /// Its head.
    pub head: Head,
}

/// As [`encode`], but hands the payload over in pieces instead of returning it.
///
/// `put` gets each piece with its offset in the payload, from any thread and in any order; together
/// they cover the payload once. Its first error ends the encoding and is returned.
pub fn encode_to(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    put: &(dyn Fn(usize, &[u8]) -> std::io::Result<()> + Sync),
) -> Result<EncodedPayload, EncodeError> {
    let payload = encode(dtype, shape, data)?;
    let head = Head::parse(&payload)?;
    payload.par_chunks(PIECE).enumerate().try_for_each(|(i, piece)| put(i * PIECE, piece))?;
    Ok(EncodedPayload { len: payload.len(), head })
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
    planes: Vec<Vec<u8>>,
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
    let table_start = writer.len();
    writer.tiles(&tiles);
    let mut tiled = Tiled {
        grid: *grid,
        split: plan.split,
        first_symbol: plan.first_symbol,
        lengths: plan.lengths.clone(),
        tiles,
        group_row_blocks: head::group_row_blocks(grid),
        tile_table: table_start..writer.len(),
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
        blocks.iter().for_each(|b| payload.extend_from_slice(&b.planes[plane]));
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
    /// `code << 8 | length` by symbol.
    codes: Box<[u32; ALPHABET]>,
}

impl Coder {
    fn new(plan: &Plan) -> Self {
        let mut codes = Box::new([0; ALPHABET]);
        let known = huffman::canonical_codes(&plan.lengths);
        let entries = known.iter().zip(&plan.lengths).map(|(&c, &l)| u32::from(c) << 8 | u32::from(l));
        for (slot, entry) in codes[usize::from(plan.first_symbol)..].iter_mut().zip(entries) {
            *slot = entry;
        }
        Self { split: plan.split, codes }
    }
}

fn encode_row_block(coder: &Coder, grid: &Grid, rows: &[u8]) -> Block {
    let bytes = |&w: &u8| vec![0; grid.row_block_bytes(usize::from(w))];
    let mut block = Block {
        tiles: Vec::new(),
        coded: Vec::new(),
        planes: coder.split.planes().iter().map(bytes).collect(),
    };
    let top_bits = usize::from(coder.split.top_bits);
    let put_lane = [put_lane::<0>, put_lane::<1>, put_lane::<2>][top_bits];
    let put_planes = [put_planes::<0>, put_planes::<1>, put_planes::<2>][top_bits];
    let mut bits = BitWriter::new(LANES * grid.tile_cols * MAX_CODE_BITS as usize);
    for col_tile in 0..grid.col_tiles {
        let first = col_tile * grid.tile_cols;
        let cols = first..first + grid.cols_in(col_tile);
        let mut lens = [0u16; LANES];
        for (lane, row) in rows.chunks_exact(2 * grid.matrix.cols).enumerate() {
            let row = &row[2 * cols.start..2 * cols.end];
            lens[lane] = put_lane(coder, row, &mut bits);
            put_planes(row, first, lane, &mut block.planes);
        }
        let present = rows.len() / (2 * grid.matrix.cols);
        let entry = put_tile(&mut block.coded, &lens[..present], bits.finish());
        block.tiles.push(entry);
    }
    block
}

/// Appends one lane's codes and returns how many bits they take. `T` is the split's number of coded
/// mantissa bits.
fn put_lane<const T: usize>(coder: &Coder, row: &[u8], bits: &mut BitWriter) -> u16 {
    let split = Split::bf16::<T>();
    let start = bits.len();
    let code = |element: u16| coder.codes[usize::from(split.symbol(element)) % ALPHABET];
    let mut fours = row.chunks_exact(8);
    for four in &mut fours {
        let four = u64::from_le_bytes(four.try_into().expect("eight bytes"));
        bits.put_four([0, 16, 32, 48].map(|shift| code((four >> shift) as u16)));
    }
    for element in fours.remainder().chunks_exact(2) {
        bits.put_four([code(u16::from_le_bytes([element[0], element[1]])), 0, 0, 0]);
    }
    (bits.len() - start) as u16
}

/// Writes one lane's part of a tile into the raw planes. `T` is the split's number of coded mantissa
/// bits.
fn put_planes<const T: usize>(row: &[u8], first_col: usize, lane: usize, planes: &mut [Vec<u8>]) {
    let split = Split::bf16::<T>();
    for (i, chunk) in row.chunks(2 * CHUNK).enumerate() {
        let mut padded = [0; 2 * CHUNK];
        match <&[u8; 2 * CHUNK]>::try_from(chunk) {
            Ok(chunk) => padded = *chunk,
            Err(_) => padded[..chunk.len()].copy_from_slice(chunk),
        }
        let mut raw = [0; CHUNK / 4];
        for (raw, four) in raw.iter_mut().zip(padded.chunks_exact(8)) {
            *raw = split.raw_of_four(u64::from_le_bytes(four.try_into().expect("eight bytes")));
        }
        for (plane, &width) in split.planes().iter().enumerate() {
            let width = u32::from(width);
            let mut fields = 0u64;
            for (i, raw) in raw.iter().enumerate() {
                let four = gather(raw >> split.plane_shift(plane), width);
                fields |= u64::from(four) << (4 * width * i as u32);
            }
            put_fields(&mut planes[plane], lane, (first_col + CHUNK * i) * width as usize, width, fields);
        }
    }
}

/// Writes the fields of a chunk of columns, `CHUNK * width` bits, to bit `bit` of a lane in the row
/// block `plane`.
fn put_fields(plane: &mut [u8], lane: usize, bit: usize, width: u32, fields: u64) {
    let at = 4 * (bit / 32 * LANES + lane);
    let mut put = |at: usize, word: u32| plane[at..at + 4].copy_from_slice(&word.to_le_bytes());
    match width {
        4 => {
            put(at, fields as u32);
            put(at + 4 * LANES, (fields >> 32) as u32);
        }
        2 => put(at, fields as u32),
        // Two chunks share a word, each has its half.
        _ => {
            let at = at + bit % 32 / 8;
            plane[at..at + 2].copy_from_slice(&(fields as u16).to_le_bytes());
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

    /// Adds four entries `code << 8 | length`, and moves whole bytes to the buffer.
    #[inline(always)]
    fn put_four(&mut self, entries: [u32; 4]) {
        // In pairs, so that not every shift waits for the one before.
        let pair = |a: u32, b: u32| (a >> 8 | (b >> 8) << (a & 15), (a & 15) + (b & 15));
        let (low, low_bits) = pair(entries[0], entries[1]);
        let (high, high_bits) = pair(entries[2], entries[3]);
        let four = u64::from(low) | u64::from(high) << low_bits;
        self.pending |= four << self.pending_bits;
        self.pending_bits += low_bits + high_bits;
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
