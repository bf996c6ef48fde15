//! A weight matrix in device memory, raw or compressed, in parts that fit a binding each.

use std::ops::Range;

use super::device::Gpu;
use super::error::GpuError;
use super::fast;
use super::format::{DenseFormat, Format, Table, WIDE_CHUNK};
use super::join::{Join, Joined};
use super::kernels::transcode;
use super::matrix_params::{self, MatrixParams};
use super::memory::Buffer;
use super::shader::Variant;
use super::slot::SlotWords;
use super::transfer::Uploader;
use super::wide;
use super::words::{Texel, Words};
use crate::codec::grid::{Grid, LANES};
use crate::codec::head::{Head, Kind, Tiled};
use crate::codec::{Kept, Payload, Precision};
use crate::tensor::{Dtype, Matrix};

/// No part is larger, so that a bit's place in it fits 32 bits.
const MAX_PART: u64 = 256 << 20;

/// The rows of a matrix that one buffer holds.
#[derive(Debug)]
pub struct Part {
    /// The words that the shaders read.
    pub payload: Words,
    /// The exceptions of the fast layout.
    pub exceptions: Option<Buffer>,
    /// The streamed stage in whose slot it is, if it does not stay on the device.
    pub stage: Option<usize>,
    pub(super) params: MatrixParams,
}

/// A weight matrix on a device, or some of its rows.
#[derive(Debug)]
pub struct DeviceMatrix {
    /// How it is stored.
    pub format: Format,
    /// Its size, or that of the rows that are there.
    pub matrix: Matrix,
    /// Its rows, in order.
    pub parts: Vec<Part>,
    /// The table that windows of the streams are looked up in, for dense tiles.
    pub codes: Option<Buffer>,
    /// What it is joined of, where it is several matrices: they are in one part then.
    pub joined: Option<Joined>,
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
        let Some(raw) = Self::raw(gpu, label, dtype, matrix)? else { return Ok(None) };
        let row_block_bytes = LANES * matrix.cols * dtype.bitsize() / 8;
        for (row_block, rows) in data.chunks(row_block_bytes.max(1)).enumerate() {
            raw.write_raw(uploader, row_block, rows).await?;
        }
        Ok(Some(raw))
    }

    /// Room for uncompressed weights, to be [written](Self::write_raw); `None` for a type that no kernel
    /// reads.
    pub fn raw(gpu: &Gpu, label: &str, dtype: Dtype, matrix: Matrix) -> Result<Option<Self>, GpuError> {
        let Some(format) = Format::raw(dtype) else { return Ok(None) };
        let grid = Grid::for_matrix(matrix);
        let block = wide::row_block_bytes(dtype, matrix.cols);
        let part = |row_blocks: Range<usize>| {
            let payload = Words::new(gpu, label, (row_blocks.len() * block) as u64, Texel::Vector)?;
            let params = MatrixParams::untiled(&grid, row_blocks);
            Ok(Part { payload, exceptions: None, stage: None, params })
        };
        let split = split_wide(gpu, label, dtype, matrix.cols, 0..grid.row_blocks)?;
        let parts = split.into_iter().map(part).collect::<Result<_, GpuError>>()?;
        Ok(Some(Self { format, matrix, parts, codes: None, joined: None, grid }))
    }

    /// Writes the rows of row block `row_block` of uncompressed weights: of several matrices that are joined,
    /// those of the second follow those of the first.
    pub async fn write_raw(
        &self,
        uploader: &mut Uploader,
        row_block: usize,
        rows: &[u8],
    ) -> Result<(), GpuError> {
        let (dtype, cols) = (self.format.dtype(), self.grid.matrix.cols);
        let block = wide::row_block_bytes(dtype, cols);
        let is_joined = self.joined.is_some();
        let blocks_before = |part: &Part| if is_joined { 0 } else { part.params.first_row as usize / LANES };
        let Some(part) = self.parts.iter().rfind(|part| blocks_before(part) <= row_block) else {
            return Ok(());
        };
        let at = (row_block - blocks_before(part)) * block;
        let mut words = vec![0; block];
        wide::interleave(rows, dtype, cols, |at, run| words[at..][..run.len()].copy_from_slice(run));
        uploader.write(&part.payload, at as u64, &words).await
    }

    /// Uploads a tiled payload as it is; `None` where it is not tiled, or of a type that no product
    /// reads.
    pub async fn upload_tiled(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        payload: &Payload<'_>,
    ) -> Result<Option<Self>, GpuError> {
        match Tiles::for_products(payload.head(), payload.precision()) {
            Some(tiles) => {
                Self::upload_units(gpu, uploader, label, payload.bytes(), &tiles, 0).await.map(Some)
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
        let Some(tiles) = Tiles::for_products(payload.head(), payload.precision()) else { return Ok(None) };
        let Some(block) = tiles.fast_row_block_bytes() else {
            return Self::upload_tiled(gpu, uploader, label, payload).await;
        };
        let dense = Self::upload_units(gpu, uploader, label, payload.bytes(), &tiles, block).await?;
        dense.into_fast(gpu, uploader, label).await.map(Some)
    }

    /// Uploads the tiles of a payload of any type, as they are, in parts in which a row block could also
    /// have `least_block` bytes.
    pub(super) async fn upload_units(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        bytes: &[u8],
        tiles: &Tiles<'_>,
        least_block: u64,
    ) -> Result<Self, GpuError> {
        let (matrix, pieces) = Self::dense(gpu, label, tiles, least_block)?;
        for (part, pieces) in matrix.parts.iter().zip(pieces) {
            for Piece { payload, at } in pieces {
                uploader.write(&part.payload, at, &bytes[payload]).await?;
            }
        }
        Ok(matrix)
    }

    /// Room for tiles, in parts in which a row block could also have `least_block` bytes, and for each
    /// part the pieces of the payload that are to be written there.
    pub fn dense(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        least_block: u64,
    ) -> Result<(Self, Vec<Vec<Piece>>), GpuError> {
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for part in lay_out(gpu, label, tiles, least_block)? {
            let payload = Words::new(gpu, label, part.len, Texel::Word)?;
            parts.push(Part { payload, exceptions: None, stage: None, params: part.params });
            pieces.push(part.pieces);
        }
        Ok((Self::of_tiles(gpu, label, tiles, parts)?, pieces))
    }

    /// The same weights in the fast layout, or as they are where they had better stay dense. They must be
    /// in parts that [have room](Tiles::fast_row_block_bytes) for it.
    pub async fn into_fast(self, gpu: &Gpu, uploader: &mut Uploader, label: &str) -> Result<Self, GpuError> {
        transcode::transcode(gpu, uploader, label, self).await
    }

    /// The same of several matrices, those joined that are stored alike, each with the element of a token's
    /// results that it begins with.
    pub async fn into_fast_joined(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        matrices: Vec<(Self, usize)>,
        join: Join,
    ) -> Result<Vec<Self>, GpuError> {
        transcode::transcode_joined(gpu, uploader, label, matrices, join).await
    }

    /// Tiles that are yet to be brought to a slot, and the pieces of the payload that go there. Only the
    /// table of codes is uploaded now.
    pub fn in_slot(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        place: SlotPlace<'_>,
    ) -> Result<(Self, Vec<Piece>), GpuError> {
        let SlotPlace { slot, mut at, stage } = place;
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for part in lay_out(gpu, label, tiles, 0)? {
            let payload = slot.part(at..at + Gpu::buffer_bytes(part.len));
            pieces.extend(part.pieces.into_iter().map(|piece| Piece { at: at + piece.at, ..piece }));
            at += slot_bytes(part.len);
            parts.push(Part { payload, exceptions: None, stage: Some(stage), params: part.params });
        }
        Ok((Self::of_tiles(gpu, label, tiles, parts)?, pieces))
    }

    /// Uncompressed weights that are yet to be decoded and brought to a slot, and which row blocks go there.
    /// `None` for a type that no kernel reads.
    pub fn decoded_in_slot(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        place: SlotPlace<'_>,
    ) -> Result<Option<(Self, Vec<RowBlocks>)>, GpuError> {
        let Some(format) = Format::raw(tiles.dtype) else { return Ok(None) };
        let SlotPlace { slot, mut at, stage } = place;
        let Matrix { cols, .. } = tiles.tiled.grid.matrix;
        let grid = Grid::for_matrix(tiles.tiled.grid.matrix);
        let block = wide::row_block_bytes(tiles.dtype, cols) as u64;
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for row_blocks in split_wide(gpu, label, tiles.dtype, cols, tiles.row_blocks())? {
            let len = row_blocks.len() as u64 * block;
            let payload = slot.part(at..at + Gpu::buffer_bytes(len));
            let params =
                MatrixParams::untiled(&grid, row_blocks.clone()).moved(format, slot.begins(at), 0, 0);
            parts.push(Part { payload, exceptions: None, stage: Some(stage), params });
            pieces.push(RowBlocks { row_blocks, at, each: block });
            at += slot_bytes(len);
        }
        let matrix = Matrix { rows: tiles.rows(), cols };
        Ok(Some((Self { format, matrix, parts, codes: None, joined: None, grid }, pieces)))
    }

    fn of_tiles(gpu: &Gpu, label: &str, tiles: &Tiles<'_>, parts: Vec<Part>) -> Result<Self, GpuError> {
        let (dense, table) = dense_format(gpu, tiles);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM;
        let codes = gpu.buffer_with(label, bytemuck::cast_slice(&table), usage)?;
        let grid = tiles.tiled.grid;
        let matrix = Matrix { rows: tiles.rows(), cols: grid.matrix.cols };
        Ok(Self { format: Format::Dense(dense), matrix, parts, codes: Some(codes), joined: None, grid })
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

    /// Tells a kernel where the words are: in all parts alike.
    pub(super) fn apply_words(&self, variant: Variant) -> Variant {
        match self.parts.first() {
            Some(part) => part.payload.apply(variant),
            None => variant,
        }
    }

    /// What is bound beside a part's words.
    pub(super) fn table<'a>(&'a self, part: &'a Part) -> Option<&'a Buffer> {
        part.exceptions.as_ref().or(self.codes.as_ref())
    }

    /// Columns whose products are summed before others are added: the same however the weights are stored.
    pub fn span_cols(&self) -> usize {
        matrix_params::span_cols(self.matrix)
    }

    /// Spans that can be read apart from each other: one where tiles reach across them.
    pub(super) fn splits(&self) -> u32 {
        let reach_across = !self.span_cols().is_multiple_of(self.grid.tile_cols.max(1));
        match self.format {
            Format::Dense(_) if reach_across => 1,
            _ => self.matrix.cols.div_ceil(self.span_cols()) as u32,
        }
    }

    /// Whether spans have parts of several tiles.
    pub(super) fn spans_have_pieces(&self) -> bool {
        matches!(self.format, Format::Dense(_)) && self.span_cols() != self.grid.tile_cols
    }

    /// Tiles side by side.
    pub(super) fn col_tiles(&self) -> u32 {
        self.grid.col_tiles as u32
    }
}

/// Where in a slot a matrix goes.
#[derive(Debug, Clone, Copy)]
pub struct SlotPlace<'a> {
    /// What shaders read of the slot.
    pub slot: &'a SlotWords,
    /// The byte where the matrix begins: a multiple of 256.
    pub at: u64,
    /// The streamed stage that the matrix belongs to.
    pub stage: usize,
}

/// The tiles of a payload, and what is read of them.
#[derive(Debug, Clone)]
pub struct Tiles<'a> {
    pub(super) tiled: &'a Tiled,
    pub(super) kept: Kept,
    dtype: Dtype,
    /// The rows that are meant.
    row_blocks: Range<usize>,
}

impl<'a> Tiles<'a> {
    /// All tiles of the payload that has this head; `None` where it is not tiled.
    pub(super) fn of(head: &'a Head, precision: Precision) -> Option<Self> {
        let Kind::Tiled(tiled) = &head.kind else { return None };
        let kept = tiled.kept(precision);
        Some(Self { tiled, kept, dtype: head.dtype, row_blocks: 0..tiled.grid.row_blocks })
    }

    /// As many as products can read: `None` for elements of other types than theirs too.
    pub fn for_products(head: &'a Head, precision: Precision) -> Option<Self> {
        Self::of(head, precision).filter(|tiles| Format::raw(tiles.dtype).is_some())
    }

    /// The same, of some row blocks alone.
    pub fn of_row_blocks(&self, row_blocks: Range<usize>) -> Self {
        Self { row_blocks, ..self.clone() }
    }

    /// Row blocks that there are.
    pub fn row_blocks(&self) -> Range<usize> {
        self.row_blocks.clone()
    }

    fn rows(&self) -> usize {
        let Range { start, end } = self.row_blocks;
        (end * LANES).min(self.tiled.grid.matrix.rows) - start * LANES
    }

    /// Bytes that a row block has in the fast layout; `None` where there is none, as for what was rounded.
    pub fn fast_row_block_bytes(&self) -> Option<u64> {
        let grid = &self.tiled.grid;
        (self.tiled.scaled.is_none() && fast::suits(self.dtype, grid))
            .then(|| fast::row_block_bytes(grid) as u64)
    }
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
    /// In a slot that it is decoded into, with nothing beside it; `None` where a row block does not fit a
    /// binding, or the type is one that no kernel reads.
    pub decoded: Option<u64>,
}

impl MatrixBytes {
    /// What these tiles take.
    pub fn of(gpu: &Gpu, label: &str, tiles: &Tiles<'_>) -> Result<Self, GpuError> {
        let parts = |least| -> Result<Vec<u64>, GpuError> {
            Ok(lay_out(gpu, label, tiles, least)?.into_iter().map(|part| part.len).collect())
        };
        let dense = parts(0)?;
        let codes = 4 << tiles.tiled.code.longest();
        let fast = match tiles.fast_row_block_bytes() {
            // A matrix that turns out to have too many exceptions stays dense, in these parts.
            Some(block) => {
                let count = parts(block)?.len() as u64;
                let most = fast::most_bytes(&tiles.tiled.grid, tiles.row_blocks.len());
                Some(
                    most.max(dense.iter().sum::<u64>() + codes)
                        + (Words::slack(gpu) + fast::TABLE_BYTES) * count,
                )
            }
            None => None,
        };
        Ok(Self {
            dense: dense.iter().map(|&len| Words::bytes_of(gpu, len)).sum::<u64>() + Gpu::buffer_bytes(codes),
            fast,
            in_slot: dense.iter().map(|&len| slot_bytes(len)).sum(),
            beside_slot: Gpu::buffer_bytes(codes),
            decoded: Self::decoded(gpu, label, tiles),
        })
    }

    fn decoded(gpu: &Gpu, label: &str, tiles: &Tiles<'_>) -> Option<u64> {
        let (dtype, cols) = (tiles.dtype, tiles.tiled.grid.matrix.cols);
        Format::raw(dtype)?;
        let parts = split_wide(gpu, label, dtype, cols, tiles.row_blocks()).ok()?;
        let block = wide::row_block_bytes(dtype, cols) as u64;
        Some(parts.iter().map(|part| slot_bytes(part.len() as u64 * block)).sum())
    }

    /// Of a matrix of `dtype` that is uploaded uncompressed; `None` for a type that no kernel reads.
    pub fn raw(gpu: &Gpu, label: &str, dtype: Dtype, matrix: Matrix) -> Result<Option<u64>, GpuError> {
        if Format::raw(dtype).is_none() {
            return Ok(None);
        }
        let grid = Grid::for_matrix(matrix);
        let block = wide::row_block_bytes(dtype, matrix.cols) as u64;
        let parts = split_wide(gpu, label, dtype, matrix.cols, 0..grid.row_blocks)?;
        Ok(Some(parts.iter().map(|part| Words::bytes_of(gpu, part.len() as u64 * block)).sum()))
    }
}

/// How tiles are stored on `gpu`, and the table that windows of their streams are looked up in.
pub(super) fn dense_format(gpu: &Gpu, tiles: &Tiles<'_>) -> (DenseFormat, Vec<u32>) {
    let Tiles { tiled, kept, .. } = *tiles;
    let mut dense = DenseFormat::of(tiled, kept);
    let table = dense.window_table(tiled);
    if gpu.is_cpu() {
        dense.table = Table::Uniform(table.len().ilog2() as u8);
    }
    (dense, table)
}

/// Bytes of a slot that a part of `len` bytes takes: the next one can be bound.
pub(super) fn slot_bytes(len: u64) -> u64 {
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

/// Row blocks of a payload that are decoded, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBlocks {
    /// Row blocks of the payload.
    pub row_blocks: Range<usize>,
    /// The byte where the first begins in the buffer.
    pub at: u64,
    /// Bytes of each there.
    pub each: u64,
}

impl RowBlocks {
    /// The byte where the last one ends.
    pub fn end(&self) -> u64 {
        self.at + self.row_blocks.len() as u64 * self.each
    }
}

/// What a part of a tiled matrix consists of.
pub(super) struct PartLayout {
    pub params: MatrixParams,
    pub pieces: Vec<Piece>,
    pub len: u64,
}

/// The parts of a tiled matrix, in which a row block could also have `least_block` bytes.
pub(super) fn lay_out(
    gpu: &Gpu,
    label: &str,
    tiles: &Tiles<'_>,
    least_block: u64,
) -> Result<Vec<PartLayout>, GpuError> {
    let Tiles { tiled, kept, .. } = *tiles;
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
    Ok(split_row_blocks(gpu, label, tiles.row_blocks(), size)?.into_iter().map(lay_out_part).collect())
}

pub(super) const WEIGHTS: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

/// A piece of a payload that every part has its share of.
#[derive(Debug, Clone, Copy)]
enum Section {
    Tiles,
    Shifts,
    Masks,
    Scales,
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
            Self::Scales => params.scales_at = word,
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
        (Section::Scales, share(&tiled.tables.scales)),
        (Section::Coded, tiled.coded_of(row_blocks.clone())),
    ];
    let plane = |plane| (Section::Plane(plane), tiled.plane_of(plane, row_blocks.clone()));
    all.extend((0..kept.planes).map(plane));
    all
}

/// Bytes of the largest part.
pub(super) fn most_part(gpu: &Gpu) -> u64 {
    Words::most_bytes(gpu).min(MAX_PART)
}

/// The parts of uncompressed weights.
fn split_wide(
    gpu: &Gpu,
    label: &str,
    dtype: Dtype,
    cols: usize,
    row_blocks: Range<usize>,
) -> Result<Vec<Range<usize>>, GpuError> {
    let block = wide::row_block_bytes(dtype, cols) as u64;
    split_row_blocks(gpu, label, row_blocks, |r| r.len() as u64 * block)
}

/// As few parts of `row_blocks` as possible whose `size` fits a binding each. An error where a single row block is
/// too large: the shaders could not address its bits.
fn split_row_blocks(
    gpu: &Gpu,
    label: &str,
    row_blocks: Range<usize>,
    size: impl Fn(Range<usize>) -> u64,
) -> Result<Vec<Range<usize>>, GpuError> {
    let limit = most_part(gpu);
    let mut parts = Vec::new();
    let mut start = row_blocks.start;
    while start < row_blocks.end {
        let wanted = size(start..start + 1);
        if wanted > limit {
            return Err(GpuError::BindingTooLarge { label: label.into(), wanted, limit });
        }
        // Sizes grow with the end, so the last end that fits can be found by halving.
        let (mut end, mut most) = (start + 1, row_blocks.end);
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

/// Rows of one row block from what `decode` writes: word `w` of lane `l` at `64 w + l`, units of `width`
/// (8, 16 or 32) bits from the low end. `rows` receives as many rows as it has room for.
pub fn deinterleave(words: &[u32], grid: &Grid, width: usize, rows: &mut [u8]) {
    for (lane, row) in rows.chunks_exact_mut(grid.matrix.cols * width / 8).enumerate() {
        for (i, bytes) in row.chunks_mut(4).enumerate() {
            bytes.copy_from_slice(&words[i * LANES + lane].to_le_bytes()[..bytes.len()]);
        }
    }
}
