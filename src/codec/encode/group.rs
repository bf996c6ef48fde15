//! Encoding a run of row blocks, or some columns of one: the part of the work that touches every element.

use std::ops::Range;

use super::coder::Coder;
use crate::codec::entropy::bit_writer::BitWriter;
use crate::codec::entropy::codebook::Codebook;
use crate::codec::payload::grid::{CHUNK, LANES, MAX_TILE_COLS};
use crate::codec::payload::lane_words::LaneWords;
use crate::codec::payload::masks::Masks;
use crate::codec::payload::split::Source;
use crate::codec::payload::tiled::{TileEntry, plane_place};
use crate::codec::payload::unit_halves::{Halves, take_apart};
use crate::codec::simd::fields::pack;
use crate::codec::simd::{self, Kernel, Vectors};

/// How many rows ahead of the current one are prefetched.
const AHEAD: usize = 2;

/// The words of each raw plane.
pub(crate) type Planes = Vec<Vec<u32>>;

/// A piece's share of every section.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Tiles; their offsets count from the piece's first word.
    pub tiles: Vec<TileEntry>,
    pub coded: Vec<u8>,
    pub planes: Planes,
}

impl Group {
    /// Resizes the planes to these numbers of words, zeroed.
    fn clear_planes(&mut self, words: impl ExactSizeIterator<Item = usize>) {
        self.planes.resize_with(words.len(), Vec::new);
        for (plane, words) in self.planes.iter_mut().zip(words) {
            plane.clear();
            plane.resize(words, 0);
        }
    }

    /// Empties the coded plane and reserves this many bytes.
    fn clear_coded(&mut self, bytes: usize) {
        self.tiles.clear();
        self.coded.clear();
        self.coded.reserve(bytes);
    }
}

/// The sections to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sections {
    Coded,
    Planes,
    Both,
}

/// Encodes the tiles `col_tiles` of `row_blocks`, whose rows are `rows`. If there are several row blocks, the
/// tiles must be all of theirs. They must begin at a multiple of 32 columns, so at a whole word of every
/// plane.
pub(crate) struct EncodeGroup<'a> {
    pub coder: &'a Coder,
    pub row_blocks: Range<usize>,
    pub col_tiles: Range<usize>,
    pub rows: &'a [u8],
    pub sections: Sections,
    /// Receives the result; its previous contents are discarded.
    pub group: Group,
}

/// One lane of a tile, split into its halves and symbols.
struct Lane {
    upper: Halves,
    lower: Halves,
    symbols: Halves,
    raw: Halves,
}

/// Working memory for encoding tiles one after the other.
struct Work {
    lane: Lane,
    bits: BitWriter,
    /// Where the row block begins in each plane.
    starts: Vec<usize>,
    group: Group,
}

/// Columns of a row block that are encoded together.
#[derive(Clone, Copy)]
struct Tile {
    row_block: usize,
    /// The first column.
    first: usize,
    cols: usize,
    /// Columns, rounded up to whole chunks.
    padded: usize,
}

impl Kernel for EncodeGroup<'_> {
    type Output = Group;

    #[inline(always)]
    fn run<V: Vectors>(mut self, vectors: V) -> Group {
        let Coder { grid, split, .. } = self.coder;
        let mut work = self.work();
        let block_bytes = LANES * grid.matrix.cols * split.unit_bytes();
        for (row_block, rows) in self.row_blocks.clone().zip(self.rows.chunks(block_bytes)) {
            for col_tile in self.col_tiles.clone() {
                let cols = grid.cols_in(col_tile);
                let padded = cols.next_multiple_of(CHUNK).min(MAX_TILE_COLS);
                let tile = Tile { row_block, first: col_tile * grid.tile_cols, cols, padded };
                self.encode_tile(vectors, rows, tile, &mut work);
            }
            for (plane, start) in work.starts.iter_mut().enumerate() {
                *start += self.block_words(plane, row_block);
            }
        }
        work.group
    }
}

impl EncodeGroup<'_> {
    /// Number of words of these columns in raw plane `plane` of row block `row_block`.
    #[inline(always)]
    fn block_words(&self, plane: usize, row_block: usize) -> usize {
        let plane = self.coder.split.planes()[plane];
        let lanes = if plane.is_sparse() { self.coder.masks[row_block].count() } else { LANES };
        let Coder { grid, .. } = self.coder;
        let end = (self.col_tiles.end * grid.tile_cols).min(grid.padded_cols);
        let width = usize::from(plane.width);
        lanes * ((end * width).div_ceil(32) - self.first_col() * width / 32)
    }

    /// The first of these columns.
    #[inline(always)]
    fn first_col(&self) -> usize {
        self.col_tiles.start * self.coder.grid.tile_cols
    }

    #[inline(always)]
    fn plane_words(&self, plane: usize) -> usize {
        self.row_blocks.clone().map(|row_block| self.block_words(plane, row_block)).sum()
    }

    /// Empty working memory.
    #[inline(always)]
    fn work(&mut self) -> Work {
        let Coder { grid, split, .. } = self.coder;
        let mut group = std::mem::take(&mut self.group);
        if self.sections != Sections::Coded {
            group.clear_planes((0..split.planes().len()).map(|plane| self.plane_words(plane)));
        }
        if self.sections != Sections::Planes {
            // One byte per symbol is usually enough.
            let rows = self.rows.len() / (split.unit_bytes() * grid.matrix.cols);
            let cols = self.col_tiles.len() * grid.tile_cols;
            group.clear_coded(rows * cols.min(grid.matrix.cols));
        }
        let empty = [0; MAX_TILE_COLS];
        Work {
            lane: Lane { upper: empty, lower: empty, symbols: empty, raw: empty },
            bits: BitWriter::new(LANES * grid.tile_cols),
            starts: vec![0; split.planes().len()],
            group,
        }
    }

    /// Encodes `tile` of the row block whose rows are `rows`.
    #[inline(always)]
    fn encode_tile(&self, vectors: impl Vectors, rows: &[u8], tile: Tile, work: &mut Work) {
        let unit = self.coder.split.unit_bytes();
        let row_bytes = unit * self.coder.grid.matrix.cols;
        let in_row = unit * tile.first..unit * (tile.first + tile.cols);
        let mut lens = [0u16; LANES];
        let mut present = 0;
        for (index, row) in rows.chunks_exact(row_bytes).enumerate().take(LANES) {
            if let Some(later) = rows.get(row_bytes * (index + AHEAD)..) {
                simd::expect(later.get(in_row.clone()).unwrap_or_default());
            }
            let lane = &mut work.lane;
            take_apart(
                &row[in_row.clone()],
                unit,
                &mut lane.upper[..tile.cols],
                &mut lane.lower[..tile.cols],
            );
            if self.sections != Sections::Planes {
                lens[index] = self.put_symbols(vectors, tile, index, work);
            }
            if self.sections != Sections::Coded {
                self.put_fields(vectors, tile, index, work);
            }
            present = index + 1;
        }
        if self.sections != Sections::Planes {
            let entry = put_tile(&mut work.group.coded, &lens[..present], work.bits.finish());
            work.group.tiles.push(entry);
        }
    }

    /// Appends the stream of lane `index` and returns its length in bits.
    #[inline(always)]
    fn put_symbols(&self, vectors: impl Vectors, tile: Tile, index: usize, work: &mut Work) -> u16 {
        let Work { lane, bits, .. } = work;
        let start = bits.len();
        let shift = self.coder.shifts.of(tile.row_block * LANES + index);
        let (upper, symbols) = (&lane.upper[..tile.cols], &mut lane.symbols[..tile.cols]);
        let (masks, book) = (self.coder.split.masks(), &self.coder.book);
        vectors.call(PutLane { upper, shift, masks, symbols, book, bits });
        (bits.len() - start) as u16
    }

    /// Adds the bits of lane `index` to each raw plane.
    #[inline(always)]
    fn put_fields(&self, vectors: impl Vectors, tile: Tile, index: usize, work: &mut Work) {
        let Coder { split, masks, .. } = self.coder;
        let Tile { row_block, first, cols, padded } = tile;
        let Work { lane, starts, group, .. } = work;
        lane.upper[cols..padded].fill(0);
        lane.lower[cols..padded].fill(0);
        let bit_masks = split.masks();
        for (raw, &upper) in lane.raw[..padded].iter_mut().zip(&lane.upper[..padded]) {
            *raw = bit_masks.raw_of(upper);
        }
        for (i, plane) in split.planes().iter().enumerate() {
            let Some((place, stride)) = plane_place(plane, masks, row_block, index) else { continue };
            let first_bit = (first - self.first_col()) * usize::from(plane.width);
            let at = LaneWords { start: starts[i] + place, stride, first_bit };
            let fields = match plane.source {
                Source::Raw => &lane.raw[..padded],
                Source::Clean if split.unit_bytes() == 2 => &lane.upper[..padded],
                Source::Lower | Source::Clean => &lane.lower[..padded],
            };
            let words = &mut group.planes[i][..];
            vectors.call(PackLane { fields, shift: plane.shift, width: plane.width, words, at });
        }
    }
}

/// Writes the stream of a lane.
struct PutLane<'a> {
    upper: &'a [u16],
    shift: u16,
    masks: Masks,
    /// Scratch memory for the symbols.
    symbols: &'a mut [u16],
    book: &'a Codebook,
    bits: &'a mut BitWriter,
}

impl Kernel for PutLane<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) {
        for (symbol, &upper) in self.symbols.iter_mut().zip(self.upper) {
            *symbol = self.masks.symbol_of(upper).wrapping_sub(self.shift) & self.masks.symbol;
        }
        self.bits.put(vectors, self.book, self.symbols);
    }
}

/// Packs a lane's fields into one plane.
struct PackLane<'a> {
    fields: &'a [u16],
    shift: u8,
    width: u8,
    words: &'a mut [u32],
    at: LaneWords,
}

impl Kernel for PackLane<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) {
        pack(vectors, self.fields, self.shift, self.width, self.words, self.at);
    }
}

/// Appends a tile, lane index first, and returns its entry with the offset from the start of `coded`.
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
