//! A weight matrix in device memory, raw or compressed, in parts that fit a binding each.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::device::Gpu;
use super::error::GpuError;
use super::memory::Buffer;
use super::shader::Variant;
use super::transfer::Uploader;
use crate::codec::Payload;
use crate::codec::grid::{CHUNK, Grid, LANES};
use crate::codec::head::{Kind, Tiled};
use crate::codec::split::Split;
use crate::tensor::{Dtype, Matrix};

/// No part is larger, so that a bit's place in it fits 32 bits.
const MAX_PART: u64 = 256 << 20;

/// How the weights are stored, as the shaders tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Uncompressed BF16, two a word.
    RawBf16,
    /// Uncompressed F16, two a word.
    RawF16,
    /// Uncompressed F32.
    RawF32,
    /// Dense tiles of BF16 with so many mantissa bits coded.
    Dense {
        /// Mantissa bits in a symbol.
        top_bits: u8,
    },
}

impl Format {
    /// Adds what a kernel that imports `shared/matrix.wgsl` needs to read this format.
    pub fn apply(self, variant: Variant) -> Variant {
        match self {
            Self::RawBf16 => variant.constant("WEIGHT_BITS", 16),
            Self::RawF16 => variant.flag("WEIGHT_F16").constant("WEIGHT_BITS", 16),
            Self::RawF32 => variant.flag("WEIGHT_F32").constant("WEIGHT_BITS", 32),
            Self::Dense { top_bits } => {
                let flag = ["TOP_BITS_0", "TOP_BITS_1", "TOP_BITS_2"][usize::from(top_bits)];
                variant.flag("DENSE").flag(flag).constant("TOP_BITS", u32::from(top_bits))
            }
        }
    }

    /// Every format there is.
    pub const ALL: [Self; 6] = [
        Self::RawBf16,
        Self::RawF16,
        Self::RawF32,
        Self::Dense { top_bits: 0 },
        Self::Dense { top_bits: 1 },
        Self::Dense { top_bits: 2 },
    ];

    fn raw(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::BF16 => Some(Self::RawBf16),
            Dtype::F16 => Some(Self::RawF16),
            Dtype::F32 => Some(Self::RawF32),
            _ => None,
        }
    }
}

/// `Matrix` of `shaders/shared/matrix.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MatrixParams {
    pub(super) rows: u32,
    pub(super) cols: u32,
    pub(super) tile_cols: u32,
    pub(super) col_tiles: u32,
    pub(super) first_row: u32,
    pub(super) x_stride: u32,
    pub(super) y_stride: u32,
    pub(super) tiles_at: u32,
    pub(super) coded_at: u32,
    pub(super) planes_at: [u32; 4],
    unused: [u32; 3],
}

/// The rows of a matrix that one buffer holds.
#[derive(Debug)]
pub struct Part {
    /// The words that the shaders read.
    pub payload: Buffer,
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
    /// The peek table, for dense tiles.
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
        let block = grid.row_block_bytes(width);
        let mut parts = Vec::new();
        for row_blocks in split_row_blocks(gpu, label, &grid, |r| (r.len() * block) as u64)? {
            let params = MatrixParams::new(&grid, row_blocks.clone());
            let payload = gpu.buffer(label, (row_blocks.len() * block) as u64, WEIGHTS)?;
            for (i, row_block) in row_blocks.enumerate() {
                let row_bytes = matrix.cols * width / 8;
                let rows =
                    row_block * LANES * row_bytes..((row_block + 1) * LANES * row_bytes).min(data.len());
                let words = interleave(&data[rows], &grid, width);
                uploader.write(&payload, (i * block) as u64, bytemuck::cast_slice(&words)).await?;
            }
            parts.push(Part { payload, params });
        }
        Ok(Some(Self { format, matrix, parts, codes: None, grid }))
    }

    /// Uploads a tiled payload as it is; `None` where it is not tiled.
    pub async fn upload_tiled(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        payload: &Payload<'_>,
    ) -> Result<Option<Self>, GpuError> {
        let Kind::Tiled(tiled) = &payload.head().kind else { return Ok(None) };
        if tiled.split.dtype != Dtype::BF16 || tiled.code.escape != 0 || !tiled.shifts.rows.is_empty() {
            return Ok(None);
        }
        let grid = tiled.grid;
        let mut parts = Vec::new();
        let size = |r| sections(tiled, r).map(|s| s.len() as u64).sum();
        for row_blocks in split_row_blocks(gpu, label, &grid, size)? {
            let mut params = MatrixParams::new(&grid, row_blocks.clone());
            let sections: Vec<_> = sections(tiled, row_blocks.clone()).collect();
            let len = sections.iter().map(|s| s.len() as u64).sum();
            let buffer = gpu.buffer(label, len, WEIGHTS)?;
            let mut at = 0u64;
            for (i, section) in sections.into_iter().enumerate() {
                let word = (at / 4) as u32;
                match i {
                    0 => params.tiles_at = word,
                    // Tile offsets count from the start of the whole plane.
                    1 => {
                        params.coded_at =
                            word.wrapping_sub(tiled.tiles[row_blocks.start * grid.col_tiles].word)
                    }
                    _ => params.planes_at[i - 2] = word,
                }
                uploader.write(&buffer, at, &payload.bytes()[section.clone()]).await?;
                at += section.len() as u64;
            }
            parts.push(Part { payload: buffer, params });
        }
        let table = peek_table(tiled);
        let codes = gpu.buffer_with(label, bytemuck::cast_slice(&table), wgpu::BufferUsages::STORAGE)?;
        let format = Format::Dense { top_bits: tiled.split.top_bits };
        Ok(Some(Self { format, matrix: grid.matrix, parts, codes: Some(codes), grid }))
    }

    /// Bytes in device memory.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.payload.size()).sum::<u64>() + self.codes.as_ref().map_or(0, Buffer::size)
    }

    /// Columns, rounded up to whole chunks: what a row of activations must be padded to.
    pub fn padded_cols(&self) -> usize {
        self.grid.padded_cols
    }

    /// Tiles side by side.
    pub(super) fn col_tiles(&self) -> u32 {
        self.grid.col_tiles as u32
    }
}

const WEIGHTS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

impl MatrixParams {
    fn new(grid: &Grid, row_blocks: Range<usize>) -> Self {
        let first_row = row_blocks.start * LANES;
        let rows = (row_blocks.end * LANES).min(grid.matrix.rows) - first_row;
        Self {
            rows: rows as u32,
            cols: grid.matrix.cols as u32,
            tile_cols: grid.tile_cols as u32,
            col_tiles: grid.col_tiles as u32,
            first_row: first_row as u32,
            ..Self::zeroed()
        }
    }

    /// The same part without its first row blocks. Tiles and planes are found by row block, so the
    /// offsets move along.
    pub(super) fn skip_row_blocks(mut self, count: u32, format: Format) -> Self {
        let Format::Dense { top_bits } = format else { return self };
        let split = Split::new(Dtype::BF16, top_bits, 0, 0).expect("a format's split exists");
        let padded_cols = self.cols.next_multiple_of(CHUNK as u32);
        self.rows -= count * LANES as u32;
        self.first_row += count * LANES as u32;
        self.tiles_at += 2 * count * self.col_tiles;
        for (at, plane) in self.planes_at.iter_mut().zip(split.planes()) {
            *at += count * LANES as u32 * (padded_cols * u32::from(plane.width)).div_ceil(32);
        }
        self
    }

    /// Row blocks of the part.
    pub(super) fn row_blocks(&self) -> u32 {
        self.rows.div_ceil(LANES as u32)
    }
}

/// Tile table, coded plane and raw planes of some row blocks, as byte ranges of the payload.
fn sections(tiled: &Tiled, row_blocks: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    let tiles = tiled.tables.tiles.start + 8 * row_blocks.start * tiled.grid.col_tiles
        ..tiled.tables.tiles.start + 8 * row_blocks.end * tiled.grid.col_tiles;
    let planes = 0..tiled.planes.len();
    let coded = tiled.coded_of(row_blocks.clone());
    [tiles, coded].into_iter().chain(planes.map(move |plane| tiled.plane_of(plane, row_blocks.clone())))
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

/// The peek table as the shaders read it: the symbol's place in an f32, and the code's length.
fn peek_table(tiled: &Tiled) -> Vec<u32> {
    let shift = 23 - u32::from(tiled.split.top_bits);
    let entry = |(symbol, len): (Option<u16>, u8)| u32::from(symbol.unwrap_or(0)) << shift | u32::from(len);
    tiled.code.peek_table().into_iter().map(entry).collect()
}

/// Lays the rows of one row block out as the raw reader wants them: word `w` of lane `l` at
/// `64 w + l`, elements of `width` (16 or 32) bits from the low end.
pub fn interleave(rows: &[u8], grid: &Grid, width: usize) -> Vec<u32> {
    debug_assert_eq!(grid.padded_cols % CHUNK, 0);
    let mut words = vec![0u32; grid.row_block_bytes(width) / 4];
    for (lane, row) in rows.chunks_exact(grid.matrix.cols * width / 8).enumerate() {
        for (i, bytes) in row.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            words[i * LANES + lane] = u32::from_le_bytes(word);
        }
    }
    words
}

/// The inverse of [`interleave`]: `rows` receives as many rows as it has room for.
pub fn deinterleave(words: &[u32], grid: &Grid, width: usize, rows: &mut [u8]) {
    for (lane, row) in rows.chunks_exact_mut(grid.matrix.cols * width / 8).enumerate() {
        for (i, bytes) in row.chunks_mut(4).enumerate() {
            bytes.copy_from_slice(&words[i * LANES + lane].to_le_bytes()[..bytes.len()]);
        }
    }
}
