//! Dense tiles on the device.

use super::device_matrix::{DeviceMatrix, Part};
use super::layouts::{Format, dense};
use super::parts::{Piece, lay_out};
use super::tiles::{Tiles, dense_format};
use super::words::Words;
use crate::codec::Payload;
use crate::gpu::{Gpu, GpuError, Uploader};
use crate::tensor::Matrix;

impl DeviceMatrix {
    /// Uploads the tiles of a payload unchanged; `None` if it is not tiled, or has a type that no product
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

    /// Uploads the tiles of a payload of any type unchanged. Each part would fit a binding even if its row
    /// blocks had `least_block` bytes.
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

    /// Allocates memory for tiles, and returns for each part the pieces of the payload to write there. Each
    /// part would fit a binding even if its row blocks had `least_block` bytes.
    pub fn dense(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        least_block: u64,
    ) -> Result<(Self, Vec<Vec<Piece>>), GpuError> {
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for part in lay_out(gpu, label, tiles, least_block)? {
            let payload = Words::new(gpu, label, part.len, dense::TEXEL)?;
            parts.push(Part { payload, table: None, stage: None, params: part.params });
            pieces.push(part.pieces);
        }
        Ok((Self::of_tiles(gpu, label, tiles, parts)?, pieces))
    }

    pub(super) fn of_tiles(
        gpu: &Gpu,
        label: &str,
        tiles: &Tiles<'_>,
        parts: Vec<Part>,
    ) -> Result<Self, GpuError> {
        let (dense, table) = dense_format(gpu, tiles);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM;
        let codes = gpu.buffer_with(label, bytemuck::cast_slice(&table), usage)?;
        let grid = tiles.tiled.grid;
        let matrix = Matrix { rows: tiles.rows(), cols: grid.matrix.cols };
        Ok(Self { format: Format::Dense(dense), matrix, parts, codes: Some(codes), joined: None, grid })
    }
}
