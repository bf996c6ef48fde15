//! Uncompressed weights on the device.

use std::ops::Range;

use super::device_matrix::{DeviceMatrix, Part};
use super::layouts::{Format, raw};
use super::matrix_params::MatrixParams;
use super::parts::split_wide;
use super::words::Words;
use crate::codec::grid::{Grid, LANES};
use crate::gpu::{Gpu, GpuError, Uploader};
use crate::tensor::{Dtype, Matrix};

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

    /// Allocates memory for uncompressed weights, to be [written](Self::write_raw); `None` for a type that no
    /// kernel reads.
    pub fn raw(gpu: &Gpu, label: &str, dtype: Dtype, matrix: Matrix) -> Result<Option<Self>, GpuError> {
        let Some(format) = Format::raw(dtype) else { return Ok(None) };
        let grid = Grid::for_matrix(matrix);
        let block = raw::row_block_bytes(dtype, matrix.cols);
        let part = |row_blocks: Range<usize>| {
            let payload = Words::new(gpu, label, (row_blocks.len() * block) as u64, raw::TEXEL)?;
            let params = MatrixParams::untiled(&grid, row_blocks);
            Ok(Part { payload, table: None, stage: None, params })
        };
        let split = split_wide(gpu, label, dtype, matrix.cols, 0..grid.row_blocks)?;
        let parts = split.into_iter().map(part).collect::<Result<_, GpuError>>()?;
        Ok(Some(Self { format, matrix, parts, codes: None, joined: None, grid }))
    }

    /// Writes the rows of row block `row_block` of uncompressed weights. In joined matrices, the row blocks
    /// of the second matrix follow those of the first.
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
}
