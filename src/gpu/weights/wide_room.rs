//! Memory that compressed weights are widened into before a batch is multiplied with them. So each is decoded
//! once, and not once for every few tokens.

use std::sync::Arc;

use super::device_matrix::DeviceMatrix;
use super::layouts::{Transcoded, raw};
use super::words::Words;
use crate::gpu::device::texture::{ROW, TextureCopy};
use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Texel, Texture};
use crate::tensor::Dtype;

/// Maximum bytes that are widened at a time, unless a single row block has more: larger matrices are
/// multiplied some rows at a time. With 4096 columns of BF16, these are 4096 rows.
const MOST_BYTES: u64 = 32 << 20;

/// The same where weights are textures: what was just widened is copied from a processor's cache.
const MOST_BYTES_COPIED: u64 = 1 << 20;

/// Device memory that holds weights between the dispatch that widens them and those that multiply with them.
/// All of these are in one submission, so any number of sessions can share the memory.
///
/// Weights are widened into a buffer. Where weights are textures, what was widened is copied to one: a software
/// device writes to a texture much more slowly than it copies, and multiplies with weights of a buffer at a
/// fourth of the rate.
#[derive(Debug)]
pub struct WideRoom {
    buffer: Arc<Buffer>,
    texture: Option<Arc<Texture>>,
}

impl WideRoom {
    /// Allocates `bytes` bytes of device memory, as [`Self::wanted`] returns them.
    pub fn new(gpu: &Gpu, bytes: u64) -> Result<Self, GpuError> {
        let label = "widened weights";
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        if !gpu.has_textures() {
            return Ok(Self { buffer: Arc::new(gpu.buffer(label, bytes, usage)?), texture: None });
        }
        // Half for each, in whole rows.
        let each = if bytes / 2 < ROW { bytes / 2 / 16 * 16 } else { bytes / 2 / ROW * ROW };
        let buffer = Arc::new(gpu.buffer(label, each, usage)?);
        Ok(Self { buffer, texture: Some(Arc::new(gpu.texture(label, each, Texel::Vector)?)) })
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.buffer.size() + self.texture.as_ref().map_or(0, |texture| texture.size())
    }

    /// Bytes of weights that have room.
    pub(in crate::gpu) fn capacity(&self) -> u64 {
        self.buffer.size()
    }

    /// The first `bytes` bytes, for a shader to write.
    pub(in crate::gpu) fn written(&self, bytes: u64) -> Buffer {
        Buffer::part_of(&self.buffer, 0..bytes)
    }

    /// `dispatch`, which writes the first `bytes` bytes, and these for shaders to read.
    pub(in crate::gpu) fn read(&self, bytes: u64, dispatch: Dispatch) -> (Dispatch, Words) {
        match &self.texture {
            Some(texture) => {
                let copy = TextureCopy { from: self.buffer.clone(), to: texture.clone(), len: bytes };
                (dispatch.with_copy(copy), Words::Shared(texture.clone()))
            }
            None => (dispatch, Words::Buffer(self.written(bytes))),
        }
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

    /// Device memory for as many of `row_blocks` row blocks as are widened at a time.
    pub fn bytes_of(gpu: &Gpu, dtype: Dtype, cols: usize, row_blocks: u64) -> u64 {
        let block = raw::row_block_bytes(dtype, cols) as u64;
        let bytes = |most: u64, limit: u64| block.saturating_mul(row_blocks).min(most.max(block)).min(limit);
        match gpu.has_textures() {
            true => 2 * Texture::bytes_of(bytes(MOST_BYTES_COPIED, Words::most_bytes(gpu))),
            false => Gpu::buffer_bytes(bytes(MOST_BYTES, gpu.max_binding())),
        }
    }
}
