//! Dense tiles to BF16 on the device. The twin is [`crate::codec::decode`].

use super::super::transfer::{Uploader, download};
use super::super::weights::{DeviceMatrix, Format, deinterleave};
use crate::codec::Payload;
use crate::codec::grid::{Grid, LANES};
use crate::gpu::{Batch, Gpu, GpuError, Variant, Workgroups};

/// The kernel for dense weights in `format`.
pub fn variant(format: Format) -> Variant {
    format.apply(Variant::new("decode"))
}

/// Uploads a payload, decodes it on the device and gives back the original bytes; `None` where the
/// payload is not tiled. Device memory is bounded by the payload and one part's decoded words.
pub async fn decode(gpu: &Gpu, payload: &Payload<'_>) -> Result<Option<Vec<u8>>, GpuError> {
    let mut uploader = Uploader::new(gpu)?;
    let Some(weights) = DeviceMatrix::upload_tiled(gpu, &mut uploader, "decode", payload).await? else {
        return Ok(None);
    };
    drop(uploader);
    let mut out = Vec::with_capacity(payload.head().original_len);
    for part in 0..weights.parts.len() {
        decode_part(gpu, &weights, part, &weights.grid, &mut out).await?;
    }
    Ok(Some(out))
}

/// Row blocks are decoded as many at a time as fit a binding, which halves at the most what is in
/// the payload's own.
async fn decode_part(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    part: usize,
    grid: &Grid,
    out: &mut Vec<u8>,
) -> Result<(), GpuError> {
    let part = &weights.parts[part];
    let kernel = gpu.kernel(variant(weights.format))?;
    let block = grid.row_block_bytes(16);
    let at_once = (gpu.max_binding() / block as u64).clamp(1, 65_535) as u32;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let mut first = 0;
    while first < part.params.row_blocks() {
        let count = at_once.min(part.params.row_blocks() - first);
        let decoded = gpu.buffer("decoded", count as u64 * block as u64, usage)?;
        let params = part.params.skip_row_blocks(first, weights.format);
        let mut buffers = vec![(2, &part.payload), (4, &decoded)];
        buffers.extend(weights.codes.as_ref().map(|b| (3, b)));
        let groups = [Workgroups::Fixed(weights.col_tiles()), Workgroups::Fixed(count)];
        let dispatch = kernel.bind(gpu, &params, &buffers, groups)?;
        gpu.submit("decode", |encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            dispatch.record(&mut pass, Batch { tokens: 1, outputs: 1 });
        })?;
        let bytes = download(gpu, &decoded, count as u64 * block as u64).await?;
        let words: &[u32] = bytemuck::cast_slice(&bytes);
        let rows = (params.rows as usize).min(count as usize * LANES);
        let start = out.len();
        out.resize(start + rows * 2 * grid.matrix.cols, 0);
        let row_bytes = 2 * grid.matrix.cols;
        for (words, rows) in words.chunks(block / 4).zip(out[start..].chunks_mut(LANES * row_bytes)) {
            deinterleave(words, grid, 16, rows);
        }
        first += count;
    }
    Ok(())
}
