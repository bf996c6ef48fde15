//! Adding a difference to its base again.

use std::ops::Range;

use rayon::prelude::*;

use super::counts::Exponents;
use super::read_lanes::{Lane, ReadLanes, SIDE_BY_SIDE, Tables, tables};
use super::repeated::repeated;
use super::unit::Unit;
use crate::codec::decode::zeros;
use crate::codec::payload::delta_head::DeltaHead;
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::LANES;
use crate::codec::simd;
use crate::tensor::Dtype;

/// Adds differences whose payload need not be in memory as a whole.
#[derive(Debug)]
pub(crate) struct DeltaDecoder {
    pub head: DeltaHead,
    tables: Tables,
}

/// A run of a payload's bytes.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub bytes: &'a [u8],
    /// The offset in the payload of the first.
    pub start: usize,
}

/// The payload of a difference, whose head has been checked.
pub struct Delta<'a> {
    bytes: &'a [u8],
    decoder: DeltaDecoder,
}

impl std::fmt::Debug for Delta<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delta").field("len", &self.bytes.len()).field("head", &self.decoder.head).finish()
    }
}

impl<'a> Delta<'a> {
    /// Whether `payload` claims to be a difference to a base, and not a payload that can be decoded alone.
    pub fn is_delta(payload: &[u8]) -> bool {
        DeltaHead::is_delta(payload)
    }

    /// Reads and checks the head. `bytes` must be the whole payload.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodecError> {
        Ok(Self { bytes, decoder: DeltaDecoder::new(DeltaHead::parse(bytes)?) })
    }

    /// Element type of the tensor and of its base.
    pub fn dtype(&self) -> Dtype {
        self.decoder.head.dtype
    }

    /// Bytes of the tensor.
    pub fn original_len(&self) -> usize {
        self.decoder.head.original_len
    }

    /// Bytes of the base. It is repeated where the tensor is longer.
    pub fn base_len(&self) -> usize {
        self.decoder.head.base_len
    }

    /// BLAKE3 of the base's bytes.
    pub fn base(&self) -> blake3::Hash {
        self.decoder.head.base
    }

    /// Rows that differ from the base's.
    pub fn changed_rows(&self) -> usize {
        self.decoder.head.changed_rows()
    }

    /// Compares every section with its checksums.
    pub fn check(&self) -> Result<(), CodecError> {
        let head = &self.decoder.head;
        (0..head.groups()).try_for_each(|group| head.check_group(group, &self.bytes[head.group_bytes(group)]))
    }

    /// The original bytes, from those of the base. The base's hash is compared first.
    pub fn decode(&self, base: &[u8]) -> Result<Vec<u8>, CodecError> {
        if base.len() != self.base_len() {
            return Err(CodecError::WrongOutput { expected: self.base_len(), actual: base.len() });
        }
        CodecError::unless_base(self.base(), blake3::hash(base))?;
        let (len, rows) = (self.original_len(), self.decoder.head.grid.matrix.rows);
        let mut out = zeros(len)?;
        if base.len() >= len {
            self.decode_rows(0..rows, &base[..len], &mut out)?;
            return Ok(out);
        }
        // A band at a time, so that no more than that is repeated.
        let band = LANES * self.row_bytes();
        for (i, out) in out.chunks_mut(band).enumerate() {
            let rows = i * LANES..rows.min((i + 1) * LANES);
            self.decode_rows(rows, &repeated(&base, i * band..i * band + out.len()), out)?;
        }
        Ok(out)
    }

    /// Bytes of a row. Short rows of the tensor are joined to longer ones here.
    pub fn row_bytes(&self) -> usize {
        self.decoder.head.row_bytes()
    }

    /// Writes the bytes of `rows`, each of [`Delta::row_bytes`], to `out`. `base` has the bytes of the base
    /// at that place, repeated where it is shorter; its hash is the caller's to compare.
    pub fn decode_rows(&self, rows: Range<usize>, base: &[u8], out: &mut [u8]) -> Result<(), CodecError> {
        self.decoder.decode_rows(Run { bytes: self.bytes, start: 0 }, rows, base, out)
    }
}

impl DeltaDecoder {
    pub fn new(head: DeltaHead) -> Self {
        Self { tables: tables(&head.contexts.frequencies), head }
    }

    /// Like [`Delta::decode_rows`], from a run of the payload that contains [`DeltaHead::bytes_of`] the rows.
    pub fn decode_rows(
        &self,
        run: Run<'_>,
        rows: Range<usize>,
        base: &[u8],
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        let (start, end, all) = (rows.start, rows.end, self.head.grid.matrix.rows);
        if start > end || end > all {
            return Err(CodecError::NoSuchRows { start, end, rows: all });
        }
        let row_bytes = self.head.row_bytes();
        let expected = rows.len() * row_bytes;
        for actual in [base.len(), out.len()] {
            if actual != expected {
                return Err(CodecError::WrongOutput { expected, actual });
            }
        }
        // The first piece ends at the end of its row block; the others are whole row blocks.
        let to_block_end = (start.next_multiple_of(LANES).min(end) - start) * row_bytes;
        let (first_base, base) = base.split_at(to_block_end);
        let (first_out, out) = out.split_at_mut(to_block_end);
        self.decode_block(run, start, first_base, first_out)?;
        let first = start.next_multiple_of(LANES);
        let blocks = out.par_chunks_mut(LANES * row_bytes).zip(base.par_chunks(LANES * row_bytes));
        blocks
            .enumerate()
            .try_for_each(|(i, (out, base))| self.decode_block(run, first + LANES * i, base, out))
    }

    /// Fills `out` with rows of one row block, from row `first` on.
    fn decode_block(
        &self,
        run: Run<'_>,
        first: usize,
        base: &[u8],
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        match self.head.dtype.bitsize() {
            _ if out.is_empty() => Ok(()),
            8 => self.decode_units::<u8>(run, first, base, out),
            16 => self.decode_units::<u16>(run, first, base, out),
            _ => self.decode_units::<u32>(run, first, base, out),
        }
    }

    fn decode_units<U: Unit>(
        &self,
        run: Run<'_>,
        first: usize,
        base: &[u8],
        out: &mut [u8],
    ) -> Result<(), CodecError> {
        out.copy_from_slice(base);
        let grid = &self.head.grid;
        let (row_block, lanes) =
            (first / LANES, first % LANES..first % LANES + out.len() / self.head.row_bytes());
        let mut read: Box<[Lane<U>; SIDE_BY_SIDE]> = Box::default();
        for col_tile in 0..grid.col_tiles {
            let places = self.places(run, row_block, row_block * grid.col_tiles + col_tile)?;
            let places: Vec<Place> = places.into_iter().filter(|place| lanes.contains(&place.lane)).collect();
            let from = size_of::<U>() * col_tile * grid.tile_cols;
            let len = size_of::<U>() * grid.cols_in(col_tile);
            let part = |place: &Place| {
                let start = (place.lane - lanes.start) * self.head.row_bytes() + from;
                start..start + len
            };
            for places in places.chunks(SIDE_BY_SIDE) {
                // Fewer lanes are read with the last of them, several times.
                let place = |i: usize| &places[i.min(places.len() - 1)];
                for (i, lane) in read.iter_mut().enumerate() {
                    (lane.at, lane.state, lane.is_wrong) = (place(i).start, place(i).state, false);
                }
                simd::run(ReadLanes {
                    bytes: run.bytes,
                    tables: &self.tables,
                    exponents: Exponents::of(self.head.dtype),
                    top: self.head.contexts.top,
                    bases: std::array::from_fn(|i| &base[part(place(i))]),
                    lanes: &mut read,
                });
                for (lane, place) in read.iter().zip(places) {
                    if lane.at != place.end || lane.state != 0 || lane.is_wrong {
                        return Err(CodecError::BadStream { row: row_block * LANES + place.lane });
                    }
                    let out = out[part(place)].chunks_exact_mut(size_of::<U>());
                    out.zip(&lane.units).for_each(|(out, unit)| unit.write(out));
                }
            }
        }
        Ok(())
    }

    /// Where the streams of a tile's lanes lie in a run, of those that differ from the base's. All of them
    /// are inside the tile.
    fn places(&self, run: Run<'_>, row_block: usize, tile: usize) -> Result<Vec<Place>, CodecError> {
        let short = CodecError::BadStream { row: row_block * LANES };
        let (entry, lanes) = (self.head.tiles[tile], self.head.masks[row_block].lanes);
        let index_bytes = self.head.index_bytes(tile);
        let in_run = |at: usize| at.checked_sub(run.start).filter(|&at| at <= run.bytes.len());
        let (Some(index), Some(end)) =
            (in_run(self.head.start_of(tile)), in_run(self.head.start_of(tile + 1)))
        else {
            return Err(short);
        };
        let mut at = 8 * (index + index_bytes);
        let count = lanes.count_ones() as usize;
        let (states, lens) = run.bytes.get(index..index + index_bytes).ok_or(short.clone())?.split_at(count);
        let of_lane = |(i, lane): (usize, usize)| {
            let more = match entry.wide {
                false => u16::from(lens[i]),
                true => u16::from_le_bytes([lens[2 * i], lens[2 * i + 1]]),
            };
            let start = at;
            at += usize::from(entry.base_bits) + usize::from(more);
            Place { lane, state: states[i], start, end: at }
        };
        let lanes = (0..LANES).filter(|lane| lanes >> lane & 1 == 1);
        let places: Vec<Place> = lanes.enumerate().map(of_lane).collect();
        if at > 8 * end { Err(short) } else { Ok(places) }
    }
}

/// A lane of a tile in the payload.
#[derive(Debug, Clone, Copy)]
struct Place {
    lane: usize,
    /// The state before the first element.
    state: u8,
    /// The first bit of its stream, and that behind the last.
    start: usize,
    end: usize,
}
