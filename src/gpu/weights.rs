//! A weight matrix in device memory, raw or compressed, in parts that fit a binding each.

use std::ops::Range;
use std::sync::Arc;

use super::device::Gpu;
use super::error::GpuError;
use super::fast;
use super::format::{DenseFormat, Format, Table, WIDE_CHUNK};
use super::kernels::transcode;
use super::matrix_params::MatrixParams;
use super::memory::Buffer;
use super::transfer::Uploader;
use crate::codec::grid::{Grid, LANES};
use crate::codec::head::{Kind, Tiled};
use crate::codec::{Kept, Payload};
use crate::tensor::{Dtype, Matrix};

/// No part is larger, so that a bit's place in it fits 32 bits.
const MAX_PART: u64 = 256 << 20;

/// The rows of a matrix that one buffer holds.
#[derive(Debug)]
pub struct Part {
    /// The words that the shaders read.
    pub payload: Buffer,
    /// The exceptions of the fast layout.
    pub exceptions: Option<Buffer>,
    pub(super) params: MatrixParams,
}

/// A weight matrix on a device.
#[derive(Debug)]
pub struct DeviceMatrix {
    /// How it is stored.
    pub format: Format,
    /// Its size.
    pub matrix: Matrix,
    /// Its rows, in order.
    pub parts: Vec<Part>,
    /// The table that windows of the streams are looked up in, for dense tiles.
    pub codes: Option<Buffer>,
    pub(super) grid: Grid,
}

impl DeviceMatrix {
    /// Uploads uncompressed weights; `None` for a type that no kernel reads.
    pub async fn upload_raw(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        dtype: Dtype,
        matrix: Matrix,
        data: &[u8],
    ) -> Result<Option<Self>, GpuError> {
        let Some(format) = Format::raw(dtype) else { return Ok(None) };
        let width = dtype.bitsize();
        let grid = Grid::for_matrix(matrix);
        let block = wide_row_block_bytes(&grid, width);
        let mut parts = Vec::new();
        for row_blocks in split_row_blocks(gpu, label, &grid, |r| (r.len() * block) as u64)? {
            let params = MatrixParams::untiled(&grid, row_blocks.clone());
            let payload = gpu.buffer(label, (row_blocks.len() * block) as u64, WEIGHTS)?;
            for (i, row_block) in row_blocks.enumerate() {
                let row_bytes = matrix.cols * width / 8;
                let rows =
                    row_block * LANES * row_bytes..((row_block + 1) * LANES * row_bytes).min(data.len());
                let words = interleave_wide(&data[rows], &grid, width);
                uploader.write(&payload, (i * block) as u64, bytemuck::cast_slice(&words)).await?;
            }
            parts.push(Part { payload, exceptions: None, params });
        }
        Ok(Some(Self { format, matrix, parts, codes: None, grid }))
    }

    /// Uploads a tiled payload as it is; `None` where it is not tiled, or of a type that no product
    /// reads.
    pub async fn upload_tiled(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        payload: &Payload<'_>,
    ) -> Result<Option<Self>, GpuError> {
        match product_tiles(payload) {
            Some(tiles) => {
                Self::upload_units(gpu, uploader, label, payload.bytes(), tiles, 0).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Uploads a tiled payload and transcodes it to the fast layout; one of another type than BF16, or
    /// with too many exceptions, stays dense. `None` where [`Self::upload_tiled`] gives none.
    pub async fn upload_fast(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        payload: &Payload<'_>,
    ) -> Result<Option<Self>, GpuError> {
        let suits = |tiles: &Tiles<'_>| fast::suits(payload.head().dtype, &tiles.tiled.grid);
        let Some(tiles) = product_tiles(payload).filter(suits) else {
            return Self::upload_tiled(gpu, uploader, label, payload).await;
        };
        // What is to be transcoded is in the same parts as what it becomes.
        let block = fast::row_block_bytes(&tiles.tiled.grid) as u64;
        let dense = Self::upload_units(gpu, uploader, label, payload.bytes(), tiles, block).await?;
        transcode::transcode(gpu, uploader, label, dense).await.map(Some)
    }

    /// Uploads the tiles of a payload of any type, as they are, in parts in which a row block could also
    /// have `least_block` bytes.
    pub(super) async fn upload_units(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        bytes: &[u8],
        tiles: Tiles<'_>,
        least_block: u64,
    ) -> Result<Self, GpuError> {
        let mut parts = Vec::new();
        for part in lay_out(gpu, label, tiles, least_block)? {
            let buffer = gpu.buffer(label, part.len, WEIGHTS)?;
            for Piece { payload, at } in part.pieces {
                uploader.write(&buffer, at, &bytes[payload]).await?;
            }
            parts.push(Part { payload: buffer, exceptions: None, params: part.params });
        }
        Self::of_tiles(gpu, label, tiles, parts)
    }

    /// A tiled payload that is yet to be brought to `slot`, from byte `at` on, and the pieces of the
    /// payload that go there. Only the table of codes is uploaded now. `None` where
    /// [`Self::upload_tiled`] gives none.
    pub fn in_slot(
        gpu: &Gpu,
        label: &str,
        payload: &Payload<'_>,
        slot: &Arc<Buffer>,
        mut at: u64,
    ) -> Result<Option<(Self, Vec<Piece>)>, GpuError> {
        let Some(tiles) = product_tiles(payload) else { return Ok(None) };
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for part in lay_out(gpu, label, tiles, 0)? {
            let payload = Buffer::part_of(slot, at..at + Gpu::buffer_bytes(part.len));
            pieces.extend(part.pieces.into_iter().map(|piece| Piece { at: at + piece.at, ..piece }));
            at += slot_bytes(part.len);
            parts.push(Part { payload, exceptions: None, params: part.params });
        }
        Self::of_tiles(gpu, label, tiles, parts).map(|matrix| Some((matrix, pieces)))
    }

    fn of_tiles(gpu: &Gpu, label: &str, tiles: Tiles<'_>, parts: Vec<Part>) -> Result<Self, GpuError> {
        let Tiles { tiled, kept } = tiles;
        let mut dense = DenseFormat::of(tiled, kept);
        let table = dense.window_table(tiled);
        if gpu.is_cpu() {
            dense.table = Table::Uniform(table.len().ilog2() as u8);
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM;
        let codes = gpu.buffer_with(label, bytemuck::cast_slice(&table), usage)?;
        let grid = tiled.grid;
        Ok(Self { format: Format::Dense(dense), matrix: grid.matrix, parts, codes: Some(codes), grid })
    }

    /// Bytes in device memory, without those of a slot that it is brought to.
    pub fn bytes(&self) -> u64 {
        let part = |part: &Part| part.payload.own_bytes() + part.exceptions.as_ref().map_or(0, Buffer::size);
        self.parts.iter().map(part).sum::<u64>() + self.codes.as_ref().map_or(0, Buffer::size)
    }

    /// Columns, rounded up to whole chunks of any layout: what a row of activations must be padded to.
    pub fn padded_cols(&self) -> usize {
        self.grid.matrix.cols.next_multiple_of(WIDE_CHUNK)
    }

    /// What is bound beside a part's words.
    pub(super) fn table<'a>(&'a self, part: &'a Part) -> Option<&'a Buffer> {
        part.exceptions.as_ref().or(self.codes.as_ref())
    }

    /// Tiles side by side.
    pub(super) fn col_tiles(&self) -> u32 {
        self.grid.col_tiles as u32
    }
}

/// The tiles of a payload, and what is read of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles<'a> {
    pub tiled: &'a Tiled,
    pub kept: Kept,
}

impl<'a> Tiles<'a> {
    /// `None` where the payload is not tiled.
    pub fn of(payload: &'a Payload<'_>) -> Option<Self> {
        match (&payload.head().kind, payload.kept()) {
            (Kind::Tiled(tiled), Some(kept)) => Some(Self { tiled, kept }),
            _ => None,
        }
    }
}

/// The tiles of a payload that products can read.
fn product_tiles<'a>(payload: &'a Payload<'_>) -> Option<Tiles<'a>> {
    Tiles::of(payload).filter(|_| Format::raw(payload.head().dtype).is_some())
}

/// What a matrix takes in device memory, known from its head, before anything is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixBytes {
    /// As dense tiles, tables included.
    pub dense: u64,
    /// In the fast layout, at the most; `None` where there is none.
    pub fast: Option<u64>,
    /// In a slot.
    pub in_slot: u64,
    /// Beside the slot.
    pub beside_slot: u64,
}

impl MatrixBytes {
    /// Of a payload; `None` where [`DeviceMatrix::upload_tiled`] gives none.
    pub fn of(gpu: &Gpu, label: &str, payload: &Payload<'_>) -> Result<Option<Self>, GpuError> {
        let Some(tiles) = product_tiles(payload) else { return Ok(None) };
        let tiled = tiles.tiled;
        let parts = |least| -> Result<Vec<u64>, GpuError> {
            Ok(lay_out(gpu, label, tiles, least)?.into_iter().map(|part| part.len).collect())
        };
        let dense = parts(0)?;
        let codes = 4 << tiled.code.longest();
        let fast = match fast::suits(payload.head().dtype, &tiled.grid) {
            // A matrix that turns out to have too many exceptions stays dense, in these parts.
            true => {
                let count = parts(fast::row_block_bytes(&tiled.grid) as u64)?.len() as u64;
                Some(fast::most_bytes(&tiled.grid).max(dense.iter().sum::<u64>() + codes) + 16 * count)
            }
            false => None,
        };
        Ok(Some(Self {
            dense: dense.iter().map(|&len| Gpu::buffer_bytes(len)).sum::<u64>() + Gpu::buffer_bytes(codes),
            fast,
            in_slot: dense.iter().map(|&len| slot_bytes(len)).sum(),
            beside_slot: Gpu::buffer_bytes(codes),
        }))
    }

    /// Of a matrix of `dtype` that is uploaded uncompressed; `None` for a type that no kernel reads.
    pub fn raw(dtype: Dtype, matrix: Matrix) -> Option<u64> {
        Format::raw(dtype)?;
        let grid = Grid::for_matrix(matrix);
        Some((grid.row_blocks * wide_row_block_bytes(&grid, dtype.bitsize())) as u64)
    }
}

/// Bytes of a slot that a part of `len` bytes takes: the next one can be bound.
fn slot_bytes(len: u64) -> u64 {
    Gpu::buffer_bytes(len).next_multiple_of(256)
}

/// A piece of a payload, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the payload.
    pub payload: Range<usize>,
    /// The byte where it begins in the buffer.
    pub at: u64,
}

/// What a part of a tiled matrix consists of.
struct PartLayout {
    params: MatrixParams,
    pieces: Vec<Piece>,
    len: u64,
}

/// The parts of a tiled matrix, in which a row block could also have `least_block` bytes.
fn lay_out(gpu: &Gpu, label: &str, tiles: Tiles<'_>, least_block: u64) -> Result<Vec<PartLayout>, GpuError> {
    let Tiles { tiled, kept } = tiles;
    let size = |r: Range<usize>| {
        let dense: u64 = sections(tiled, kept, r.clone()).iter().map(|(_, s)| s.len() as u64).sum();
        dense.max(least_block * r.len() as u64)
    };
    let lay_out_part = |row_blocks: Range<usize>| {
        let mut params = MatrixParams::new(&tiled.grid, row_blocks.clone());
        params.shift_unit = u32::from(tiled.shifts.unit);
        params.window_mask = (1 << tiled.code.longest()) - 1;
        let (mut pieces, mut len) = (Vec::new(), 0u64);
        for (section, payload) in sections(tiled, kept, row_blocks.clone()) {
            section.place(&mut params, (len / 4) as u32, tiled, row_blocks.start);
            let at = len;
            len += payload.len() as u64;
            pieces.push(Piece { payload, at });
        }
        PartLayout { params, pieces, len }
    };
    Ok(split_row_blocks(gpu, label, &tiled.grid, size)?.into_iter().map(lay_out_part).collect())
}

pub(super) const WEIGHTS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

/// A piece of a payload that every part has its share of.
#[derive(Debug, Clone, Copy)]
enum Section {
    Tiles,
    Shifts,
    Masks,
    Coded,
    Plane(usize),
}

impl Section {
    /// Notes that the section of the part that begins with `row_block` is at `word`.
    fn place(self, params: &mut MatrixParams, word: u32, tiled: &Tiled, row_block: usize) {
        match self {
            Self::Tiles => params.tiles_at = word,
            Self::Shifts => params.shifts_at = word,
            Self::Masks => params.masks_at = word,
            // Tile offsets count from the start of the whole plane. Differences are modulo 2³²: what
            // the shaders add to them brings them back into the part.
            Self::Coded => {
                params.coded_at = word.wrapping_sub(tiled.tiles[row_block * tiled.grid.col_tiles].word);
            }
            // So do the places of lanes in sparse planes.
            Self::Plane(plane) if tiled.split.planes()[plane].is_sparse() => {
                params.planes_at[plane] = word.wrapping_sub(tiled.plane_word(plane, row_block) as u32);
            }
            Self::Plane(plane) => params.planes_at[plane] = word,
        }
    }
}

/// The sections of some row blocks that are read, as byte ranges of the payload.
fn sections(tiled: &Tiled, kept: Kept, row_blocks: Range<usize>) -> Vec<(Section, Range<usize>)> {
    // A table that is not there is empty, and so is its share.
    let share = |table: &Range<usize>| {
        let each = table.len() / tiled.grid.row_blocks;
        table.start + each * row_blocks.start..table.start + each * row_blocks.end
    };
    let mut all = vec![
        (Section::Tiles, share(&tiled.tables.tiles)),
        (Section::Shifts, share(&tiled.tables.shifts)),
        (Section::Masks, share(&tiled.tables.masks)),
        (Section::Coded, tiled.coded_of(row_blocks.clone())),
    ];
    let plane = |plane| (Section::Plane(plane), tiled.plane_of(plane, row_blocks.clone()));
    all.extend((0..kept.planes).map(plane));
    all
}

/// As few parts as possible whose `size` fits a binding each. An error where a single row block is
/// too large: the shaders could not address its bits.
fn split_row_blocks(
    gpu: &Gpu,
    label: &str,
    grid: &Grid,
    size: impl Fn(Range<usize>) -> u64,
) -> Result<Vec<Range<usize>>, GpuError> {
    let limit = gpu.max_binding().min(MAX_PART);
    let mut parts = Vec::new();
    let mut start = 0;
    while start < grid.row_blocks {
        let wanted = size(start..start + 1);
        if wanted > limit {
            return Err(GpuError::BindingTooLarge { label: label.into(), wanted, limit });
        }
        // Sizes grow with the end, so the last end that fits can be found by halving.
        let (mut end, mut most) = (start + 1, grid.row_blocks);
        while end < most {
            let middle = (end + most).div_ceil(2);
            if size(start..middle) <= limit {
                end = middle;
            } else {
                most = middle - 1;
            }
        }
        parts.push(start..end);
        start = end;
    }
    Ok(parts)
}

/// Bytes that a row block of uncompressed weights has on the device.
fn wide_row_block_bytes(grid: &Grid, width: usize) -> usize {
    grid.matrix.cols.next_multiple_of(WIDE_CHUNK) * width / 8 * LANES
}

/// Lays the rows of one row block out as the raw reader wants them: four words of a lane side by side,
/// the `v`th such vector of lane `l` at `64 v + l`; elements of `width` (16 or 32) bits from the low end.
fn interleave_wide(rows: &[u8], grid: &Grid, width: usize) -> Vec<[u32; 4]> {
    let mut vectors = vec![[0; 4]; wide_row_block_bytes(grid, width) / 16];
    for (lane, row) in rows.chunks_exact(grid.matrix.cols * width / 8).enumerate() {
        for (i, bytes) in row.chunks(16).enumerate() {
            let vector: &mut [u8] = bytemuck::bytes_of_mut(&mut vectors[i * LANES + lane]);
            vector[..bytes.len()].copy_from_slice(bytes);
        }
    }
    vectors.iter_mut().flatten().for_each(|word| *word = u32::from_le(*word));
    vectors
}

/// Rows of one row block from what `decode` writes: word `w` of lane `l` at `64 w + l`, units of `width`
/// (8, 16 or 32) bits from the low end. `rows` receives as many rows as it has room for.
pub fn deinterleave(words: &[u32], grid: &Grid, width: usize, rows: &mut [u8]) {
    for (lane, row) in rows.chunks_exact_mut(grid.matrix.cols * width / 8).enumerate() {
        for (i, bytes) in row.chunks_mut(4).enumerate() {
            bytes.copy_from_slice(&words[i * LANES + lane].to_le_bytes()[..bytes.len()]);
        }
    }
}
