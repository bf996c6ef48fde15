//! Memory that compressed weights are widened into before a batch is multiplied with them. So each is decoded
//! once, and not once for every few tokens.

use std::sync::Arc;

use super::device_matrix::DeviceMatrix;
use super::layouts::{Transcoded, raw};
use super::words::Words;
use crate::gpu::{Buffer, Gpu, GpuError};
use crate::tensor::Dtype;

/// Maximum bytes of the memory, unless a single row block needs more: larger matrices are multiplied some
/// rows at a time. With 4096 columns of BF16, it has 4096 rows.
const MOST_BYTES: u64 = 32 << 20;

/// Device memory that holds weights between the dispatch that widens them and those that multiply with them.
/// All of these are in one submission, so any number of sessions can share the memory.
///
/// It is a buffer even if weights are in textures: a software device writes to a texture much more slowly,
/// and for a batch the speed of reading weights matters little.
#[derive(Debug)]
pub struct WideRoom(Arc<Buffer>);

impl WideRoom {
    /// Allocates `bytes` bytes.
    pub fn new(gpu: &Gpu, bytes: u64) -> Result<Self, GpuError> {
        Ok(Self(Arc::new(gpu.buffer("widened weights", bytes, wgpu::BufferUsages::STORAGE)?)))
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.size()
    }

    /// The first `bytes` bytes, for shaders to read and write.
    pub(in crate::gpu) fn words(&self, bytes: u64) -> Words {
        Words::Buffer(Buffer::part_of(&self.0, 0..bytes))
    }

    /// Bytes needed for products of batches of up to `tokens` tokens with `matrices`: 0 if none of them is
    /// widened.
    pub fn wanted<'a>(gpu: &Gpu, tokens: usize, matrices: impl IntoIterator<Item = &'a DeviceMatrix>) -> u64 {
        let bytes = |matrix: &DeviceMatrix| match gpu.choices().widens(matrix.format, tokens) {
            true => {
                let parts = matrix.parts.iter().map(|part| matrix.row_blocks_of(part));
                let (blocks, cols) = (parts.max().unwrap_or(0), matrix.matrix.cols);
                Self::bytes_of(gpu, matrix.format.dtype(), cols, blocks.into())
            }
            false => 0,
        };
        matrices.into_iter().map(bytes).max().unwrap_or(0)
    }

    /// Bytes for as many of `row_blocks` row blocks as are widened at a time.
    pub(in crate::gpu) fn bytes_of(gpu: &Gpu, dtype: Dtype, cols: usize, row_blocks: u64) -> u64 {
        let block = raw::row_block_bytes(dtype, cols) as u64;
        let most = MOST_BYTES.max(block);
        let bytes = block.saturating_mul(row_blocks).min(most);
        Gpu::buffer_bytes(bytes.min(gpu.max_binding()))
    }

    /// The same for matrices with `row_blocks` row blocks in total that will be transcoded, or else stay in dense
    /// tiles.
    pub fn wanted_for(
        gpu: &Gpu,
        tokens: usize,
        transcoded: Option<Transcoded>,
        dtype: Dtype,
        cols: usize,
        row_blocks: u64,
    ) -> u64 {
        match row_blocks > 0 && gpu.choices().widens_compressed(transcoded, tokens) {
            true => Self::bytes_of(gpu, dtype, cols, row_blocks),
            false => 0,
        }
    }
}
