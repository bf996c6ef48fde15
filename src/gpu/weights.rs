//! A weight matrix in device memory, raw or compressed, in parts that fit a binding each.

use std::ops::Range;

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
use crate::codec::{Kept, Payload, Precision};
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
        match &payload.head().kind {
            Kind::Tiled(tiled) if Format::raw(payload.head().dtype).is_some() => {
                Self::upload_units(gpu, uploader, label, payload, tiled, 0).await.map(Some)
            }
            _ => Ok(None),
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
        let tiled = match &payload.head().kind {
            Kind::Tiled(tiled) if fast::suits(payload.head().dtype, &tiled.grid) => tiled,
            _ => return Self::upload_tiled(gpu, uploader, label, payload).await,
        };
        // What is to be transcoded is in the same parts as what it becomes.
        let block = fast::row_block_bytes(&tiled.grid) as u64;
        let dense = Self::upload_units(gpu, uploader, label, payload, tiled, block).await?;
        transcode::transcode(gpu, uploader, label, dense).await.map(Some)
    }

    /// Uploads the tiles of a payload of any type, as they are, in parts in which a row block could also
    /// have `least_block` bytes.
    pub(super) async fn upload_units(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        payload: &Payload<'_>,
        tiled: &Tiled,
        least_block: u64,
    ) -> Result<Self, GpuError> {
        let (grid, bytes) = (tiled.grid, payload.bytes());
        let kept = payload.kept().unwrap_or(Precision::Lossless.kept(&tiled.split));
        let sections = |row_blocks| sections(tiled, kept, row_blocks);
        let mut dense = DenseFormat::of(tiled, kept);
        let table = dense.window_table(tiled);
        if gpu.is_cpu() {
            dense.table = Table::Uniform(table.len().ilog2() as u8);
        }
        let size = |r: Range<usize>| {
            let dense: u64 = sections(r.clone()).iter().map(|(_, s)| s.len() as u64).sum();
            dense.max(least_block * r.len() as u64)
        };
        let mut parts = Vec::new();
        for row_blocks in split_row_blocks(gpu, label, &grid, size)? {
            let mut params = MatrixParams::new(&grid, row_blocks.clone());
            params.shift_unit = u32::from(tiled.shifts.unit);
            params.window_mask = table.len() as u32 - 1;
            let sections = sections(row_blocks.clone());
            let len = sections.iter().map(|(_, s)| s.len() as u64).sum();
            let buffer = gpu.buffer(label, len, WEIGHTS)?;
            let mut at = 0u64;
            for (section, range) in sections {
                section.place(&mut params, (at / 4) as u32, tiled, row_blocks.start);
                uploader.write(&buffer, at, &bytes[range.clone()]).await?;
                at += range.len() as u64;
            }
            parts.push(Part { payload: buffer, exceptions: None, params });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM;
        let codes = gpu.buffer_with(label, bytemuck::cast_slice(&table), usage)?;
        let format = Format::Dense(dense);
        Ok(Self { format, matrix: grid.matrix, parts, codes: Some(codes), grid })
    }

    /// Bytes in device memory.
    pub fn bytes(&self) -> u64 {
        let part = |part: &Part| part.payload.size() + part.exceptions.as_ref().map_or(0, Buffer::size);
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
