//! Encoding the difference of a tensor to its base.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::counts::{CountRows, Counts, Exponents};
use super::lane_bits::Stream;
use super::repeated::repeated;
use super::unit::Unit;
use super::write_lanes::{Coder, Lane, SIDE_BY_SIDE, WriteLanes};
use crate::codec::encode::{EncodeError, Put, check_length};
use crate::codec::entropy::tans::Table;
use crate::codec::payload::checksum::checksum;
use crate::codec::payload::delta_head::{delta_grid, has_differences, index_bytes};
use crate::codec::payload::error::CodecError;
use crate::codec::payload::fixed_part::dtype_code;
use crate::codec::payload::grid::{Grid, LANES, MAX_TILE_COLS, SECTION_ALIGN};
use crate::codec::payload::groups::group_row_blocks;
use crate::codec::payload::head_writer::HeadWriter;
use crate::codec::payload::row_tables::RowMask;
use crate::codec::payload::tiled::TileEntry;
use crate::codec::plan::TensorSource;
use crate::codec::simd;
use crate::tensor::Dtype;

/// Elements whose symbols are counted, about. Of larger tensors only some row blocks are, evenly spread.
const COUNTED: usize = 4 << 20;

/// Encodes the difference of a tensor of `dtype` and `shape` to `base`, elements of the same type
/// with the hash of their bytes. If they are fewer, as before a vocabulary grew, they are repeated; of more, the
/// first are taken. Pieces of the payload go to `put`; the result is the payload's length. `None`, whatever
/// was put, where the payload would not be shorter than `limit`, and for tensors that are not stored so:
/// those without elements or with an empty base, and those whose type is no float of 8, 16 or 32 bits.
///
/// The work is spread over the current rayon pool, but the payload does not depend on the number of threads.
pub fn encode_delta(
    dtype: Dtype,
    shape: &[usize],
    tensor: &dyn TensorSource,
    base: (&dyn TensorSource, blake3::Hash),
    limit: usize,
    put: &Put<'_>,
) -> Result<Option<usize>, EncodeError> {
    let len = tensor.size();
    let matrix = check_length(dtype, shape, len)?;
    let too_large = |n: usize| u32::try_from(n).is_err();
    let Some(code) = dtype_code(dtype).filter(|_| has_differences(dtype)) else { return Ok(None) };
    let base_len = base.0.size();
    if !base_len.is_multiple_of(dtype.bitsize() / 8) {
        return Err(CodecError::BadBase { dtype, actual: base_len }.into());
    }
    if matrix.is_empty() || base_len == 0 || too_large(matrix.rows) || too_large(matrix.cols) {
        return Ok(None);
    }
    let grid = delta_grid(matrix);
    let writer = HeadWriter::new(code, len);
    let exponents = Exponents::of(dtype);
    let pair = Pair { grid, dtype, exponents, tensor, base: base.0 };
    match dtype.bitsize() {
        8 => pair.encode::<u8>(writer, &base.1, limit, put),
        16 => pair.encode::<u16>(writer, &base.1, limit, put),
        _ => pair.encode::<u32>(writer, &base.1, limit, put),
    }
}

/// Like [`encode_delta`], from memory to memory, without a limit.
pub(crate) fn encode_delta_in_memory(
    dtype: Dtype,
    shape: &[usize],
    tensor: &[u8],
    base: (&[u8], blake3::Hash),
) -> Result<Option<Vec<u8>>, CodecError> {
    let payload = Mutex::new(Vec::new());
    let put = |at: usize, piece: &[u8]| {
        let mut payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
        let len = payload.len().max(at + piece.len());
        payload.resize(len, 0);
        payload[at..at + piece.len()].copy_from_slice(piece);
        Ok(())
    };
    match encode_delta(dtype, shape, &tensor, (&base.0, base.1), usize::MAX, &put) {
        Ok(Some(_)) => Ok(Some(payload.into_inner().unwrap_or_else(PoisonError::into_inner))),
        Ok(None) => Ok(None),
        Err(EncodeError::Codec(error)) => Err(error),
        Err(EncodeError::Put(_)) => unreachable!("memory does not fail"),
    }
}

/// A tensor and its base.
struct Pair<'a> {
    grid: Grid,
    dtype: Dtype,
    exponents: Exponents,
    tensor: &'a dyn TensorSource,
    base: &'a dyn TensorSource,
}

/// Some row blocks after they have been encoded.
struct Group {
    coded: Vec<u8>,
    tiles: Vec<TileEntry>,
}

impl Pair<'_> {
    fn encode<U: Unit>(
        &self,
        mut writer: HeadWriter,
        base: &blake3::Hash,
        limit: usize,
        put: &Put<'_>,
    ) -> Result<Option<usize>, EncodeError> {
        let (masks, counts, open) = self.look::<U>();
        let (contexts, bits) = counts.contexts(open);
        let tiles = self.grid.row_blocks * self.grid.col_tiles;
        let groups = self.grid.row_blocks.div_ceil(group_row_blocks(&self.grid));
        writer.delta(&self.grid, &contexts, (base, self.base.size()));
        writer.masks(&masks);
        let start = writer.padded_len(tiles + groups);
        if !open && start as f64 + bits / 8.0 >= limit as f64 {
            return Ok(None);
        }
        let tables: Vec<Table> = contexts.frequencies.iter().map(Table::new).collect();
        let coder = Coder { tables: &tables, exponents: self.exponents, top: contexts.top };
        let (mut end, mut sums, mut entries) = (start, Vec::new(), Vec::new());
        let each = group_row_blocks(&self.grid);
        let row_blocks: Vec<_> = (0..self.grid.row_blocks).step_by(each).collect();
        for batch in row_blocks.chunks(2 * rayon::current_num_threads()) {
            let encode = |&first: &usize| {
                let row_blocks = first..(first + each).min(self.grid.row_blocks);
                self.encode_group::<U>(&coder, &masks, row_blocks)
            };
            let groups: Vec<Group> = batch.par_iter().map(encode).collect();
            for (mut group, &first) in groups.into_iter().zip(batch) {
                if first + each >= self.grid.row_blocks {
                    let padded = (end + group.coded.len()).next_multiple_of(SECTION_ALIGN);
                    group.coded.resize(padded - end, 0);
                }
                for tile in group.tiles {
                    let Ok(word) = u32::try_from((end - start) / 4 + tile.word as usize) else {
                        return Ok(None);
                    };
                    entries.push(TileEntry { word, ..tile });
                }
                put(end, &group.coded)?;
                sums.push(checksum(&group.coded));
                end += group.coded.len();
                if end >= limit {
                    return Ok(None);
                }
            }
        }
        writer.tiles(&entries);
        put(0, &writer.finish(&sums, end))?;
        Ok(Some(end))
    }

    /// Which rows differ, and how often each symbol occurs in them; whether only some row blocks were
    /// counted.
    fn look<U: Unit>(&self) -> (Vec<RowMask>, Counts, bool) {
        let apart = (self.grid.matrix.len() / COUNTED).clamp(1, self.grid.row_blocks);
        let none = || Counts::none(self.dtype);
        let rows = group_row_blocks(&self.grid);
        let firsts: Vec<usize> = (0..self.grid.row_blocks).step_by(rows).collect();
        let looked = firsts.into_par_iter().map(|first| {
            let (mut lanes, mut counts) = (Vec::new(), none());
            for row_block in first..(first + rows).min(self.grid.row_blocks) {
                lanes.push(self.look_at::<U>(row_block, (row_block % apart == 0).then_some(&mut counts)));
            }
            (lanes, counts)
        });
        let (mut masks, mut counts, mut before) = (Vec::new(), none(), 0);
        for (lanes, more) in looked.collect::<Vec<_>>() {
            for lanes in lanes {
                let mask = RowMask { lanes, before };
                before += mask.count() as u32;
                masks.push(mask);
            }
            counts = counts.and(&more);
        }
        (masks, counts, apart > 1)
    }

    /// The bytes of the rows of a row block.
    fn rows(&self, row_block: usize) -> Range<usize> {
        let row_bytes = self.row_bytes();
        let first = row_block * LANES;
        first * row_bytes..(first + self.grid.rows_in(row_block)) * row_bytes
    }

    fn row_bytes(&self) -> usize {
        self.grid.matrix.cols * self.dtype.bitsize() / 8
    }

    /// Which lanes of a row block differ, and their counts if they are wanted.
    fn look_at<U: Unit>(&self, row_block: usize, mut counts: Option<&mut Counts>) -> u64 {
        let (tensor, base) =
            (self.tensor.bytes(self.rows(row_block)), repeated(self.base, self.rows(row_block)));
        let (mut new, mut old) = ([U::default(); MAX_TILE_COLS], [U::default(); MAX_TILE_COLS]);
        let mut lanes = 0;
        let rows = tensor.chunks_exact(self.row_bytes()).zip(base.chunks_exact(self.row_bytes()));
        for (lane, (tensor, base)) in rows.enumerate().filter(|(_, (tensor, base))| tensor != base) {
            lanes |= 1 << lane;
            let Some(counts) = &mut counts else { continue };
            let most = MAX_TILE_COLS * self.dtype.bitsize() / 8;
            for (tensor, base) in tensor.chunks(most).zip(base.chunks(most)) {
                simd::run(CountRows {
                    counts,
                    exponents: self.exponents,
                    new: read(tensor, &mut new),
                    base: read(base, &mut old),
                });
            }
        }
        lanes
    }

    fn encode_group<U: Unit>(&self, coder: &Coder, masks: &[RowMask], row_blocks: Range<usize>) -> Group {
        let mut group = Group { coded: Vec::new(), tiles: Vec::new() };
        let mut lanes = Lanes::<U>::default();
        let width = self.dtype.bitsize() / 8;
        for row_block in row_blocks {
            let (tensor, base) =
                (self.tensor.bytes(self.rows(row_block)), repeated(self.base, self.rows(row_block)));
            for col_tile in 0..self.grid.col_tiles {
                let first = width * col_tile * self.grid.tile_cols;
                let cols = first..first + width * self.grid.cols_in(col_tile);
                let pair = |lane: usize| {
                    let at = lane * self.row_bytes();
                    (&tensor[at + cols.start..at + cols.end], &base[at + cols.start..at + cols.end])
                };
                let changed = (0..LANES).filter(|lane| masks[row_block].lanes >> lane & 1 == 1);
                let changed: Vec<(&[u8], &[u8])> = changed.map(pair).collect();
                changed.chunks(SIDE_BY_SIDE).for_each(|pairs| lanes.put(coder, pairs));
                group.tiles.push(lanes.finish(&mut group.coded));
            }
        }
        group
    }
}

/// The elements of a row in a tile.
#[inline(always)]
fn read<'a, U: Unit>(bytes: &[u8], units: &'a mut [U; MAX_TILE_COLS]) -> &'a [U] {
    let bytes = bytes.chunks_exact(size_of::<U>());
    let units = &mut units[..bytes.len()];
    units.iter_mut().zip(bytes).for_each(|(unit, bytes)| *unit = U::read(bytes));
    units
}

/// The lanes of a tile that is being encoded.
struct Lanes<U> {
    new: [[U; MAX_TILE_COLS]; SIDE_BY_SIDE],
    base: [[U; MAX_TILE_COLS]; SIDE_BY_SIDE],
    lanes: Box<[Lane; SIDE_BY_SIDE]>,
    stream: Stream,
    states: Vec<u8>,
    lens: Vec<u16>,
}

impl<U: Unit> Default for Lanes<U> {
    fn default() -> Self {
        let none = [[U::default(); MAX_TILE_COLS]; SIDE_BY_SIDE];
        let (states, lens) = (Vec::with_capacity(LANES), Vec::with_capacity(LANES));
        Self { new: none, base: none, lanes: Box::default(), stream: Stream::default(), states, lens }
    }
}

impl<U: Unit> Lanes<U> {
    /// Appends one lane or two, each with its base's elements.
    fn put(&mut self, coder: &Coder, pairs: &[(&[u8], &[u8])]) {
        let mut cols = 0;
        for (i, &(tensor, base)) in pairs.iter().enumerate() {
            cols = read(tensor, &mut self.new[i]).len();
            read(base, &mut self.base[i]);
        }
        // What is left there from before is written, too, if there is only one, and not used.
        let new = self.new.each_ref().map(|units| &units[..cols]);
        let base = self.base.each_ref().map(|units| &units[..cols]);
        simd::run(WriteLanes { coder, new, base, lanes: &mut self.lanes });
        for lane in &self.lanes[..pairs.len()] {
            self.states.push(lane.state);
            self.lens.push(lane.bits.len() as u16);
            lane.bits.append_to(&mut self.stream);
        }
    }

    /// Appends the tile, lane index first, and starts over. The result has the offset from the start of
    /// `coded`.
    fn finish(&mut self, coded: &mut Vec<u8>) -> TileEntry {
        let base = self.lens.iter().copied().min().unwrap_or(0);
        let more = || self.lens.iter().map(|len| len - base);
        let entry = TileEntry {
            word: (coded.len() / 4) as u32,
            base_bits: base,
            wide: more().any(|more| more > 255),
        };
        let end = coded.len() + index_bytes(self.lens.len(), entry.wide);
        coded.append(&mut self.states);
        for more in more() {
            coded.push(more as u8);
            if entry.wide {
                coded.push((more >> 8) as u8);
            }
        }
        self.lens.clear();
        coded.resize(end, 0);
        self.stream.finish(coded);
        entry
    }
}
