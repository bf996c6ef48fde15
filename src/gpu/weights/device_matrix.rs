//! A weight matrix in device memory, raw or compressed, in parts that fit a binding each.

use std::ops::Range;

use super::join::{Join, Joined};
use super::layouts::format::{Format, WIDE_CHUNK};
use super::layouts::raw;
use super::matrix_params::{self, MatrixParams};
use super::parts::{Piece, RowBlocks, lay_out, slot_bytes, split_wide};
use super::slot::SlotPlace;
use super::tiles::{Tiles, dense_format};
use super::words::{Texel, Words};
use crate::codec::Payload;
use crate::codec::grid::{Grid, LANES};
use crate::gpu::kernels::transcode;
use crate::gpu::{Buffer, Gpu, GpuError, Uploader, Variant};
use crate::tensor::{Dtype, Matrix};

/// The rows of a matrix that one buffer holds.
#[derive(Debug)]
pub struct Part {
    /// The words that the shaders read.
    pub payload: Words,
    /// The exceptions of the fast layout.
    pub exceptions: Option<Buffer>,
    /// The streamed stage in whose slot it is, if it does not stay on the device.
    pub stage: Option<usize>,
    pub(in crate::gpu) params: MatrixParams,
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
    pub(in crate::gpu) grid: Grid,
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
        let block = raw::row_block_bytes(dtype, matrix.cols);
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
        let block = raw::row_block_bytes(dtype, cols);
        let is_joined = self.joined.is_some();
        let blocks_before = |part: &Part| if is_joined { 0 } else { part.params.first_row as usize / LANES };
        let Some(part) = self.parts.iter().rfind(|part| blocks_before(part) <= row_block) else {
            return Ok(());
        };
        let at = (row_block - blocks_before(part)) * block;
        let mut words = vec![0; block];
        raw::interleave(rows, dtype, cols, |at, run| words[at..][..run.len()].copy_from_slice(run));
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
    pub(in crate::gpu) async fn upload_units(
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
        let block = raw::row_block_bytes(tiles.dtype, cols) as u64;
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
    pub(in crate::gpu) fn apply_words(&self, variant: Variant) -> Variant {
        match self.parts.first() {
            Some(part) => part.payload.apply(variant),
            None => variant,
        }
    }

    /// What is bound beside a part's words.
    pub(in crate::gpu) fn table<'a>(&'a self, part: &'a Part) -> Option<&'a Buffer> {
        part.exceptions.as_ref().or(self.codes.as_ref())
    }

    /// Columns whose products are summed before others are added: the same however the weights are stored.
    pub fn span_cols(&self) -> usize {
        matrix_params::span_cols(self.matrix)
    }

    /// Spans that can be read apart from each other: one where tiles reach across them.
    pub(in crate::gpu) fn splits(&self) -> u32 {
        let reach_across = !self.span_cols().is_multiple_of(self.grid.tile_cols.max(1));
        match self.format {
            Format::Dense(_) if reach_across => 1,
            _ => self.matrix.cols.div_ceil(self.span_cols()) as u32,
        }
    }

    /// Whether spans have parts of several tiles.
    pub(in crate::gpu) fn spans_have_pieces(&self) -> bool {
        matches!(self.format, Format::Dense(_)) && self.span_cols() != self.grid.tile_cols
    }

    /// Row blocks of `part`, of all matrices that are joined there.
    pub(in crate::gpu) fn row_blocks_of(&self, part: &Part) -> u32 {
        self.params_of(part).0.iter().map(MatrixParams::row_blocks).sum()
    }

    /// Tiles side by side.
    pub(in crate::gpu) fn col_tiles(&self) -> u32 {
        self.grid.col_tiles as u32
    }
}
