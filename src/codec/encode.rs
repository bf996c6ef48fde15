//! From a tensor's bytes to its payload.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::bit_writer::Codebook;
use super::checksum::checksum;
use super::encode_group::{Coder, EncodeGroup, Group, Sections};
use super::error::{CodecError, EncodeError};
use super::grid::{Grid, LANES, SECTION_ALIGN};
use super::head::{self, Head, RowMask, Shifts, TileEntry};
use super::head_writer::HeadWriter;
use super::plan::{Choice, Chosen, Plan};
use super::split::{Split, unit_matrix};
use super::vector;
use crate::tensor::{Dtype, Matrix};

pub use super::plan::Preset;

/// Of tensors up to this many bytes the raw planes are made together with the coded plane, and kept until
/// its length is known; of larger ones they are made in a second pass.
const AT_ONCE: usize = 64 << 20;

/// Receives pieces of a payload: their offset, and their bytes. Pieces may come from any thread and
/// in any order. What is put twice has the later value, and what lies behind the payload's end is of
/// no meaning.
pub type Put<'a> = dyn Fn(usize, &[u8]) -> io::Result<()> + Sync + 'a;

/// What [`encode_to`] has handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    /// Bytes of the payload.
    pub len: usize,
    /// Its head.
    pub head: Head,
}

/// Encodes a tensor of `dtype` and `shape` whose little-endian bytes are `data`.
///
/// The payload is constant where all elements are equal and are 16 MiB at the most, else tiled where
/// that is smaller, else raw. It does not depend on the number of threads: the work is spread over the
/// current rayon pool.
pub fn encode(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Vec<u8>, CodecError> {
    encode_with(dtype, shape, data, Preset::default())
}

/// As [`encode`], striving for what `preset` says.
pub fn encode_with(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    preset: Preset,
) -> Result<Vec<u8>, CodecError> {
    in_memory(dtype, shape, data, Choice { preset, split: None })
}

/// As [`encode`], with so many mantissa bits coded whether or not that is the smallest split.
pub fn encode_with_top_bits(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    top_bits: u8,
) -> Result<Vec<u8>, CodecError> {
    in_memory(dtype, shape, data, Choice { preset: Preset::Small, split: Some(Chosen::TopBits(top_bits)) })
}

/// As [`encode`], with this split whether or not it is the smallest.
pub fn encode_with_split(shape: &[usize], data: &[u8], split: Split) -> Result<Vec<u8>, CodecError> {
    let choice = Choice { preset: Preset::Small, split: Some(Chosen::Split(split)) };
    in_memory(split.dtype, shape, data, choice)
}

/// As [`encode_with`], in pieces: whatever the size of the tensor, the memory needed is that of 64 MiB
/// of it, or of a few million elements for each thread if that is more. The first error of `put` ends
/// the encoding and is returned.
pub fn encode_to(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    preset: Preset,
    put: &Put<'_>,
) -> Result<EncodedPayload, EncodeError> {
    encode_chosen(dtype, shape, data, Choice { preset, split: None }, put)
}

fn in_memory(dtype: Dtype, shape: &[usize], data: &[u8], choice: Choice) -> Result<Vec<u8>, CodecError> {
    let payload = Mutex::new(Vec::with_capacity(data.len()));
    let put = |at: usize, bytes: &[u8]| {
        let mut payload = payload.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if payload.len() < at {
            payload.resize(at, 0);
        }
        let (over, beyond) = bytes.split_at(bytes.len().min(payload.len() - at));
        payload[at..at + over.len()].copy_from_slice(over);
        payload.extend_from_slice(beyond);
        Ok(())
    };
    let len = match encode_chosen(dtype, shape, data, choice, &put) {
        Ok(encoded) => encoded.len,
        Err(EncodeError::Codec(error)) => return Err(error),
        Err(EncodeError::Put(_)) => unreachable!("memory does not fail"),
    };
    let mut payload = payload.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    payload.truncate(len);
    Ok(payload)
}

fn encode_chosen(
    dtype: Dtype,
    shape: &[usize],
    data: &[u8],
    choice: Choice,
    put: &Put<'_>,
) -> Result<EncodedPayload, EncodeError> {
    let matrix = check_length(dtype, shape, data)?;
    let code =
        head::dtype_code(dtype).ok_or(CodecError::BadHead("an element type this version does not know"))?;
    if let Some(element) = constant_element(dtype, data) {
        let mut writer = HeadWriter::new(code, data.len());
        writer.constant(element);
        let len = writer.padded_len(0);
        return put_head(writer, &[], len, put);
    }
    let too_large = |n: usize| u32::try_from(n).is_err();
    let fits = !matrix.is_empty() && !too_large(matrix.rows) && !too_large(matrix.cols);
    if fits && let Some(plan) = Plan::smallest(dtype, matrix, data, choice) {
        let limit = raw_payload_len(code, data.len());
        if let Some(encoded) = encode_tiled(code, matrix, plan, data, limit, put)? {
            return Ok(encoded);
        }
    }
    encode_raw(code, data, put)
}

/// Finishes a payload of `len` bytes, all but its head put.
fn put_head(
    writer: HeadWriter,
    sums: &[u64],
    len: usize,
    put: &Put<'_>,
) -> Result<EncodedPayload, EncodeError> {
    let head = writer.finish(sums, len);
    put(0, &head)?;
    Ok(EncodedPayload { len, head: Head::parse_front(&head, len)? })
}

/// Checks the length, and returns the matrix of units.
fn check_length(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Matrix, CodecError> {
    let wrong =
        |expected| CodecError::WrongLength { dtype, shape: shape.to_vec(), expected, actual: data.len() };
    let matrix = Matrix::of_shape(shape).ok_or(wrong(usize::MAX))?;
    let expected = matrix.len().checked_mul(dtype.bitsize()).ok_or(wrong(usize::MAX))?.div_ceil(8);
    if expected != data.len() {
        return Err(wrong(expected));
    }
    unit_matrix(dtype, shape).ok_or(wrong(expected))
}

/// The one element that all are equal to, of whole bytes.
fn constant_element(dtype: Dtype, data: &[u8]) -> Option<&[u8]> {
    let len = dtype.bitsize() / 8;
    if len == 0 || len * 8 != dtype.bitsize() || data.len() < len || data.len() > head::MAX_CONSTANT {
        return None;
    }
    (data[len..] == data[..data.len() - len]).then_some(&data[..len])
}

fn raw_payload_len(code: u8, len: usize) -> usize {
    HeadWriter::new(code, len).padded_len(head::raw_groups(len)) + len.next_multiple_of(SECTION_ALIGN)
}

fn encode_raw(code: u8, data: &[u8], put: &Put<'_>) -> Result<EncodedPayload, EncodeError> {
    let writer = HeadWriter::new(code, data.len());
    let groups = head::raw_groups(data.len());
    let head_len = writer.padded_len(groups);
    let sums = (0..groups).into_par_iter().map(|group| {
        let range = head::raw_range(0, data.len(), group);
        let inside = &data[range.start..range.end.min(data.len())];
        if inside.len() == range.len() {
            put(head_len + range.start, inside)?;
            return Ok(checksum(inside));
        }
        let padded = [inside, &vec![0; range.len() - inside.len()]].concat();
        put(head_len + range.start, &padded)?;
        Ok(checksum(&padded))
    });
    let sums: Vec<u64> = sums.collect::<io::Result<_>>()?;
    put_head(writer, &sums, head_len + data.len().next_multiple_of(SECTION_ALIGN), put)
}

/// `None` where the payload would not be shorter than `limit`, or the coded plane is too long for
/// the tile table's 32-bit word offsets.
fn encode_tiled(
    code: u8,
    matrix: Matrix,
    plan: Plan,
    data: &[u8],
    limit: usize,
    put: &Put<'_>,
) -> Result<Option<EncodedPayload>, EncodeError> {
    let tensor = Tensor { code, data, coder: coder(matrix, &plan, data) };
    let head_len = tensor.head_len(&plan);
    let sections = if tensor.at_once() { Sections::Both } else { Sections::Coded };
    let mut planes = Vec::new();
    let Some(coded) = tensor.put_coded(head_len, sections, &mut planes, put)? else { return Ok(None) };
    let plane_ends = tensor.plane_ends(coded.end);
    let payload_len = plane_ends.last().copied().unwrap_or(coded.end);
    if payload_len >= limit {
        return Ok(None);
    }
    let mut sums = coded.sums;
    sums.extend(tensor.put_planes(coded.end, &plane_ends, planes, put)?);
    let mut writer = tensor.head(&plan);
    writer.masks(&tensor.coder.masks);
    writer.tiles(&coded.tiles);
    put_head(writer, &sums, payload_len, put).map(Some)
}

fn coder(matrix: Matrix, plan: &Plan, data: &[u8]) -> Coder {
    let grid = Grid::for_matrix(matrix);
    let split = plan.split;
    let row_bytes = matrix.cols * split.unit_bytes();
    let mut shifts = Shifts::default();
    if let Some(levels) = plan.levels {
        shifts.unit = plan.shift_unit();
        let of_block = |rows: &'_ [u8]| -> Vec<u8> {
            levels.shifts(split.dtype, rows.chunks_exact(row_bytes)).collect()
        };
        shifts.rows = data.par_chunks(LANES * row_bytes).flat_map_iter(of_block).collect();
        shifts.rows.resize(grid.row_blocks * LANES, 0);
    }
    let mut masks = Vec::new();
    if split.clean_bits > 0 {
        let lanes = |rows: &[u8]| dirty_lanes(rows, row_bytes, split.unit_bytes(), split.clean_bits);
        masks = data
            .par_chunks(LANES * row_bytes)
            .map(|rows| RowMask { lanes: lanes(rows), before: 0 })
            .collect();
        let mut before = 0;
        for mask in &mut masks {
            mask.before = before;
            before += mask.count() as u32;
        }
    }
    Coder { grid, split, book: Codebook::new(&plan.code, split.symbol_bits()), shifts, masks }
}

/// Bit `l` for each row that has something in its lowest `clean` bits.
fn dirty_lanes(rows: &[u8], row_bytes: usize, unit_bytes: usize, clean: u8) -> u64 {
    let dirty = |row: &[u8]| match unit_bytes {
        2 => {
            row.as_chunks().0.iter().fold(0, |all, &b| all | u16::from_le_bytes(b)) & ((1 << clean) - 1) != 0
        }
        _ => {
            row.as_chunks().0.iter().fold(0, |all, &b| all | u32::from_le_bytes(b)) & ((1 << clean) - 1) != 0
        }
    };
    rows.chunks_exact(row_bytes).enumerate().map(|(lane, row)| u64::from(dirty(row)) << lane).sum()
}

/// A tensor that is being encoded.
struct Tensor<'a> {
    code: u8,
    data: &'a [u8],
    coder: Coder,
}

/// The coded plane, once it is written.
struct Coded {
    tiles: Vec<TileEntry>,
    sums: Vec<u64>,
    end: usize,
}

impl Tensor<'_> {
    /// The head up to where row masks and tile table go.
    fn head(&self, plan: &Plan) -> HeadWriter {
        let mut writer = HeadWriter::new(self.code, self.data.len());
        writer.tiled(&self.coder.grid, &self.coder.split, &plan.code, &self.coder.shifts);
        writer
    }

    fn head_len(&self, plan: &Plan) -> usize {
        let grid = &self.coder.grid;
        let sums = self.groups() * (1 + self.coder.split.planes().len());
        // In numbers of 8 bytes: a tile is one, a row mask two.
        self.head(plan).padded_len(grid.row_blocks * grid.col_tiles + 2 * self.coder.masks.len() + sums)
    }

    /// Whether the planes of all groups are in memory together.
    fn at_once(&self) -> bool {
        self.data.len() <= AT_ONCE
    }

    fn groups(&self) -> usize {
        self.coder.grid.row_blocks.div_ceil(head::group_row_blocks(&self.coder.grid))
    }

    fn row_blocks(&self, group: usize) -> Range<usize> {
        let many = head::group_row_blocks(&self.coder.grid);
        group * many..((group + 1) * many).min(self.coder.grid.row_blocks)
    }

    /// Groups that are encoded together: few, so that they are put while they are in the cache, and the
    /// next ones are made in the same memory.
    fn windows(&self) -> impl Iterator<Item = Range<usize>> {
        let many = 2 * rayon::current_num_threads();
        let groups = self.groups();
        (0..groups).step_by(many).map(move |start| start..(start + many).min(groups))
    }

    fn encode(&self, group: usize, sections: Sections) -> Group {
        let row_blocks = self.row_blocks(group);
        let block = LANES * self.coder.grid.matrix.cols * self.coder.split.unit_bytes();
        let rows = row_blocks.start * block..(row_blocks.end * block).min(self.data.len());
        vector::run(EncodeGroup { coder: &self.coder, row_blocks, rows: &self.data[rows], sections })
    }

    /// Writes the coded plane from `start` on. Where `sections` says both, `planes` receives the raw
    /// planes of each group.
    fn put_coded(
        &self,
        start: usize,
        sections: Sections,
        planes: &mut Vec<Vec<Vec<u32>>>,
        put: &Put<'_>,
    ) -> io::Result<Option<Coded>> {
        let mut coded = Coded { tiles: Vec::new(), sums: Vec::new(), end: start };
        for window in self.windows() {
            let encode = |group| self.encode(group, sections);
            let mut groups: Vec<Group> = window.clone().into_par_iter().map(encode).collect();
            let mut places = Vec::new();
            for (index, group) in window.zip(&mut groups) {
                let word = (coded.end - start) / 4;
                for tile in &group.tiles {
                    let Ok(word) = u32::try_from(word + tile.word as usize) else { return Ok(None) };
                    coded.tiles.push(TileEntry { word, ..*tile });
                }
                places.push(coded.end);
                let mut end = coded.end + group.coded.len();
                if index + 1 == self.groups() {
                    end = end.next_multiple_of(SECTION_ALIGN);
                    group.coded.resize(end - coded.end, 0);
                }
                coded.end = end;
            }
            let written = groups.par_iter().zip(places).map(|(group, at)| {
                put(at, &group.coded)?;
                Ok(checksum(&group.coded))
            });
            coded.sums.extend(written.collect::<io::Result<Vec<u64>>>()?);
            planes.extend(groups.into_iter().map(|group| group.planes));
        }
        Ok(Some(coded))
    }

    /// Where each raw plane ends, if the first begins at `start`.
    fn plane_ends(&self, start: usize) -> Vec<usize> {
        let mut end = start;
        let ends = self.coder.split.planes().iter().map(|plane| {
            let bytes = head::plane_bytes(plane, &self.coder.grid, &self.coder.masks);
            end += bytes.expect("planes are no larger than the tensor");
            end
        });
        ends.collect()
    }

    /// Writes the raw planes and returns their checksums, plane after plane. `made` has those of all
    /// groups, or they are made now.
    fn put_planes(
        &self,
        start: usize,
        ends: &[usize],
        made: Vec<Vec<Vec<u32>>>,
        put: &Put<'_>,
    ) -> io::Result<Vec<u64>> {
        let mut next: Vec<usize> =
            std::iter::once(start).chain(ends.iter().copied()).take(ends.len()).collect();
        let mut sums = vec![Vec::new(); ends.len()];
        let mut made = made.into_iter();
        for window in self.windows() {
            let mut made: Vec<_> = if self.at_once() {
                made.by_ref().take(window.len()).collect()
            } else {
                let encode = |group| self.encode(group, Sections::Planes).planes;
                window.clone().into_par_iter().map(encode).collect()
            };
            let mut places = Vec::new();
            for (index, planes) in window.zip(&mut made) {
                for ((words, next), &end) in planes.iter_mut().zip(&mut next).zip(ends) {
                    if index + 1 == self.groups() {
                        words.resize((end - *next) / 4, 0);
                    }
                    places.push(*next);
                    *next += 4 * words.len();
                }
            }
            let pieces: Vec<&Vec<u32>> = made.iter().flatten().collect();
            let written = pieces.par_iter().zip(places).map(|(words, at)| {
                let bytes: &[u8] = bytemuck::cast_slice(words);
                put(at, bytes)?;
                Ok(checksum(bytes))
            });
            for (i, sum) in written.collect::<io::Result<Vec<u64>>>()?.into_iter().enumerate() {
                sums[i % ends.len()].push(sum);
            }
        }
        Ok(sums.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::Kind;
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
        assert!(matches!(Head::parse(&with(1)).unwrap().kind, Kind::Tiled(_)));
    }

    #[test]
    fn data_of_the_wrong_length_is_refused() {
        let error = encode(Dtype::BF16, &[2, 3], &[0; 11]).unwrap_err();
        assert_eq!(error.to_string(), "BF16 of shape [2, 3] should be 12 bytes, but 11 were given");
    }
}
