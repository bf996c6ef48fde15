//! Allocating memory for joined matrices.

use super::device_matrix::{DeviceMatrix, Part};
use super::joined::{Join, Joined};
use super::layouts::{DenseFormat, Format, Table, Transcoded, dense, raw};
use super::matrix_params::MatrixParams;
use super::parts::{PartLayout, Piece, RowBlocks, lay_out, most_part, slot_bytes};
use super::slot::SlotPlace;
use super::tiles::{Tiles, dense_format};
use super::words::Words;
use crate::codec::grid::Grid;
use crate::gpu::device::dispatch::MAX_WORKGROUPS;
use crate::gpu::{Buffer, Gpu, GpuError};
use crate::tensor::{Dtype, Matrix};

/// Alignment of the tables of joined matrices in bytes.
pub(in crate::gpu) const TABLE_BYTES: u64 = 256;

/// The properties that tiles must share to be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilesKey {
    format: DenseFormat,
    cols: usize,
    tile_cols: usize,
}

impl TilesKey {
    /// The key of these tiles.
    pub fn of(gpu: &Gpu, tiles: &Tiles<'_>) -> Self {
        let grid = &tiles.tiled.grid;
        Self { format: dense_format(gpu, tiles).0, cols: grid.matrix.cols, tile_cols: grid.tile_cols }
    }
}

/// Assigns places to the members of joined matrices, one after the other.
pub(in crate::gpu) struct MemberPlaces {
    join: Join,
    format: Format,
    members: Vec<MatrixParams>,
    /// Offset of the first member in the binding.
    begins: u64,
    /// Bytes of all members so far.
    pub bytes: u64,
    /// Total words of their tables.
    pub table_words: usize,
    row_blocks: u32,
}

impl MemberPlaces {
    pub fn new(join: Join, format: Format) -> Self {
        Self { join, format, members: Vec::new(), begins: 0, bytes: 0, table_words: 0, row_blocks: 0 }
    }

    /// Adds a matrix with `bytes` bytes and `table_words` words of tables. Its results begin at element
    /// `first_row` of a token's.
    pub fn add(&mut self, params: MatrixParams, first_row: usize, bytes: u64, table_words: usize) {
        let first_block = if self.join == Join::Stacked { self.row_blocks } else { 0 };
        let at = self.begins + self.bytes;
        let mut member = params.moved(self.format, at, self.table_words as u32, first_block);
        member.first_row = first_row as u32;
        self.members.push(member);
        self.bytes += bytes;
        self.table_words += table_words;
        self.row_blocks += params.row_blocks();
    }

    /// Whether all members fit one binding and one dispatch.
    fn fit(&self, gpu: &Gpu) -> bool {
        self.bytes <= most_part(gpu) && self.row_blocks <= MAX_WORKGROUPS
    }

    /// The joined matrix, whose rows are divided as in `grid`.
    pub fn into_matrix(self, grid: Grid, buffers: JoinedBuffers) -> Option<DeviceMatrix> {
        let JoinedBuffers { payload, table, codes, stage } = buffers;
        let part = Part { payload, table, stage, params: *self.members.first()? };
        let joined = Joined { join: self.join, members: self.members };
        let (matrix, parts) = (joined.matrix(), vec![part]);
        Some(DeviceMatrix { format: self.format, matrix, parts, codes, grid, joined: Some(joined) })
    }
}

/// A joined matrix, and for each member the pieces of its payload to write there.
pub type JoinedWithPieces = (DeviceMatrix, Vec<Vec<Piece>>);

/// The device memory of joined matrices.
pub(in crate::gpu) struct JoinedBuffers {
    pub payload: Words,
    pub table: Option<Words>,
    pub codes: Option<Buffer>,
    pub stage: Option<usize>,
}

impl DeviceMatrix {
    /// Allocates memory for uncompressed weights of several matrices with equal columns, to be
    /// [written](Self::write_raw) row block by row block. Each comes with the element of a token's results at
    /// which its own begin. `None` for a type that no kernel reads, or if they do not fit a binding.
    pub fn raw_joined(
        gpu: &Gpu,
        label: &str,
        dtype: Dtype,
        matrices: &[(Matrix, usize)],
        join: Join,
    ) -> Result<Option<Self>, GpuError> {
        let Some((places, _)) = wide_places(gpu, dtype, matrices, join, None) else { return Ok(None) };
        let payload = Words::new(gpu, label, places.bytes, raw::TEXEL)?;
        let buffers = JoinedBuffers { payload, table: None, codes: None, stage: None };
        Ok(matrices.first().and_then(|(first, _)| places.into_matrix(Grid::for_matrix(*first), buffers)))
    }

    /// The same in a slot that they are decoded into, and for each matrix the row blocks to write there.
    pub fn decoded_joined(
        gpu: &Gpu,
        dtype: Dtype,
        matrices: &[(Matrix, usize)],
        join: Join,
        place: SlotPlace<'_>,
    ) -> Option<(Self, Vec<RowBlocks>)> {
        let (places, pieces) = wide_places(gpu, dtype, matrices, join, Some(place))?;
        let payload = place.slot.part(place.at..place.at + places.bytes);
        let buffers = JoinedBuffers { payload, table: None, codes: None, stage: Some(place.stage) };
        let (first, _) = matrices.first()?;
        places.into_matrix(Grid::for_matrix(*first), buffers).map(|joined| (joined, pieces))
    }

    /// Allocates memory for tiles of several matrices with the same [key](TilesKey), on the device or in a
    /// slot. Each comes with the element of a token's results at which its own begin. Returns for each matrix
    /// the pieces of its payload to write there. `None` if they do not fit a binding.
    pub fn dense_joined(
        gpu: &Gpu,
        label: &str,
        tiles: &[(Tiles<'_>, usize)],
        join: Join,
        slot: Option<SlotPlace<'_>>,
    ) -> Result<Option<JoinedWithPieces>, GpuError> {
        let Some((first, _)) = tiles.first() else { return Ok(None) };
        let (format, _) = dense_format(gpu, first);
        let mut places = MemberPlaces::new(join, Format::Dense(format));
        let (mut pieces, mut table, start) = (Vec::new(), Vec::new(), slot.map_or(0, |slot| slot.at));
        for (tiles, first_row) in tiles {
            let mut parts = lay_out(gpu, label, tiles, 0)?;
            let (Some(PartLayout { params, pieces: own, len }), true) = (parts.pop(), parts.is_empty())
            else {
                return Ok(None);
            };
            let at = start + places.bytes;
            pieces.push(own.into_iter().map(|piece| Piece { at: at + piece.at, ..piece }).collect());
            let mut codes = dense_format(gpu, tiles).1;
            codes.resize(codes.len().next_multiple_of(4), 0);
            places.add(params, *first_row, if slot.is_some() { slot_bytes(len) } else { len }, codes.len());
            table.append(&mut codes);
        }
        let most_codes = match format.table {
            Table::Storage | Table::Workgroup => u64::MAX,
            Table::Uniform(_) => gpu.device().limits().max_uniform_buffer_binding_size,
        };
        if !places.fit(gpu) || 4 * table.len() as u64 > most_codes {
            return Ok(None);
        }
        let payload = match slot {
            Some(place) => place.slot.part(place.at..place.at + places.bytes),
            None => Words::new(gpu, label, places.bytes, dense::TEXEL)?,
        };
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM;
        let codes = Some(gpu.buffer_with(label, bytemuck::cast_slice(&table), usage)?);
        let buffers = JoinedBuffers { payload, table: None, codes, stage: slot.map(|place| place.stage) };
        Ok(places.into_matrix(first.tiled.grid, buffers).map(|matrix| (matrix, pieces)))
    }
}

/// The places of joined uncompressed matrices, on the device or in a slot, and their row blocks.
fn wide_places(
    gpu: &Gpu,
    dtype: Dtype,
    matrices: &[(Matrix, usize)],
    join: Join,
    slot: Option<SlotPlace<'_>>,
) -> Option<(MemberPlaces, Vec<RowBlocks>)> {
    let (first, _) = matrices.first()?;
    let mut places = MemberPlaces::new(join, Format::raw(dtype)?);
    places.begins = slot.map_or(0, |place| place.slot.begins(place.at));
    let start = slot.map_or(0, |place| place.at);
    let each = raw::row_block_bytes(dtype, first.cols) as u64;
    let mut pieces = Vec::new();
    for (matrix, first_row) in matrices {
        let grid = Grid::for_matrix(*matrix);
        pieces.push(RowBlocks { row_blocks: 0..grid.row_blocks, at: start + places.bytes, each });
        let params = MatrixParams::untiled(&grid, 0..grid.row_blocks);
        places.add(params, *first_row, grid.row_blocks as u64 * each, 0);
    }
    let fit = places.fit(gpu) && matrices.iter().all(|(matrix, _)| matrix.cols == first.cols);
    fit.then_some((places, pieces))
}

/// Whether these tiles in `layout` fit one binding and one dispatch; `false` if one of them cannot have it.
pub fn transcoded_fit_together(gpu: &Gpu, tiles: &[&Tiles<'_>], layout: Transcoded) -> bool {
    let row_blocks: usize = tiles.iter().map(|tiles| tiles.row_blocks().len()).sum();
    if row_blocks > MAX_WORKGROUPS as usize {
        return false;
    }
    let bytes = |tiles: &&Tiles<'_>| {
        Some(tiles.transcoded_row_block_bytes(layout)? * tiles.row_blocks().len() as u64)
    };
    tiles.iter().map(bytes).sum::<Option<u64>>().is_some_and(|sum| sum <= most_part(gpu))
}
