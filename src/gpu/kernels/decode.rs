//! Dense tiles to the original type on the device. The twin is [`crate::codec::decode`].

use super::super::transfer::{Uploader, download};
use super::super::weights::{DeviceMatrix, deinterleave};
use crate::codec::Payload;
use crate::codec::grid::{Grid, LANES};
use crate::codec::head::Kind;
use crate::gpu::format::{DenseFormat, Format, Rows};
use crate::gpu::{Batch, Gpu, GpuError, Variant, Workgroups};

/// Workgroups that every device allows along a dimension.
const MAX_WORKGROUPS: u32 = 65_535;

/// The kernel for dense weights in `format`.
pub fn variant(format: DenseFormat) -> Variant {
    let bits = unit_bits(format) as u32;
    let variant = Format::Dense(format).apply(Variant::new("decode"), Rows::ONE);
    variant.flag(format!("UNIT_{bits}")).constant("UNIT_BITS", bits)
}

fn unit_bits(format: DenseFormat) -> usize {
    8 * format.split.unit_bytes()
}

/// Uploads a payload, decodes it on the device and gives back the original bytes. Device memory is
/// bounded by the payload and one part's decoded words.
///
/// `None` where there is nothing for a device to do, because the payload is not tiled, and where 64 of
/// its rows are more than the device can bind.
pub async fn decode(gpu: &Gpu, payload: &Payload<'_>) -> Result<Option<Vec<u8>>, GpuError> {
    let Kind::Tiled(tiled) = &payload.head().kind else { return Ok(None) };
    let format = DenseFormat::of(tiled);
    let block = tiled.grid.row_block_bytes(unit_bits(format)) as u64;
    if block > gpu.max_binding() || tiled.grid.col_tiles as u64 > u64::from(MAX_WORKGROUPS) {
        return Ok(None);
    }
    let mut uploader = Uploader::new(gpu)?;
    let bytes = payload.bytes();
    let weights = match DeviceMatrix::upload_units(gpu, &mut uploader, "decode", bytes, tiled, 0).await {
        Err(GpuError::BindingTooLarge { .. }) => return Ok(None),
        weights => weights?,
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
    let Format::Dense(format) = weights.format else { return Ok(()) };
    let part = &weights.parts[part];
    let kernel = gpu.kernel(variant(format))?;
    let width = unit_bits(format);
    let block = grid.row_block_bytes(width);
    let at_once = (gpu.max_binding() / block as u64).clamp(1, u64::from(MAX_WORKGROUPS)) as u32;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let mut first = 0;
    while first < part.params.row_blocks() {
        let count = at_once.min(part.params.row_blocks() - first);
        let decoded = gpu.buffer("decoded", count as u64 * block as u64, usage)?;
        let params = part.params.skip_row_blocks(first, weights.format);
        let mut buffers = vec![(2, &part.payload), (4, &decoded)];
        buffers.extend(weights.table(part).map(|b| (3, b)));
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
        let row_bytes = width / 8 * grid.matrix.cols;
        out.resize(start + rows * row_bytes, 0);
        for (words, rows) in words.chunks(block / 4).zip(out[start..].chunks_mut(LANES * row_bytes)) {
            deinterleave(words, grid, width, rows);
        }
        first += count;
    }
    Ok(())
}
