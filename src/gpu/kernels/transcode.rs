//! Dense tiles of BF16 to the fast layout, on the device. The twin is [`crate::gpu::fast::transcode`].

use crate::codec::grid::Grid;
use crate::gpu::fast::{self, Row};
use crate::gpu::format::{DenseFormat, FastFormat, Format};
use crate::gpu::invocations::Invocations;
use crate::gpu::matrix_params::MatrixParams;
use crate::gpu::transfer::{Uploader, download};
use crate::gpu::weights::{DeviceMatrix, Part, WEIGHTS};
use crate::gpu::{Batch, Buffer, Gpu, GpuError, Variant, Workgroups};

/// The kernel that measures rows of dense weights in `format`.
pub fn measure_variant(format: DenseFormat) -> Variant {
    Format::Dense(format).apply(Variant::new("measure"), Invocations::ONE_ROW_EACH)
}

/// The kernel that transcodes dense weights in `dense` to `fast`.
pub fn variant(dense: DenseFormat, fast: FastFormat) -> Variant {
    Format::Dense(dense)
        .apply(Variant::new("transcode"), Invocations::ONE_ROW_EACH)
        .flag_if(fast.zeros, "ZEROS")
}

/// The fast layout of `weights`, or `weights` where they had better stay dense. Parts are given back as
/// soon as they are transcoded.
pub(in crate::gpu) async fn transcode(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    mut weights: DeviceMatrix,
) -> Result<DeviceMatrix, GpuError> {
    let Format::Dense(dense) = weights.format else { return Ok(weights) };
    let mut rows = Vec::with_capacity(weights.matrix.rows);
    for part in &weights.parts {
        rows.extend(measure(gpu, &weights, part, dense).await?);
    }
    let Some(format) = fast::choose(&weights.grid, &rows) else { return Ok(weights) };
    let mut parts = Vec::with_capacity(weights.parts.len());
    let first_row = weights.parts.first().map_or(0, |part| part.params.first_row);
    for part in std::mem::take(&mut weights.parts) {
        let rows = &rows[(part.params.first_row - first_row) as usize..][..part.params.rows as usize];
        let table = fast::table(rows, format);
        let made = FastPart::new(gpu, uploader, label, &weights.grid, &part, &table).await?;
        let kernel = gpu.kernel(variant(dense, format))?;
        let buffers = [&part.payload, &made.exceptions, &made.payload];
        run(gpu, &kernel, &part.params, weights.codes.as_ref(), &buffers)?;
        parts.push(made.into_part());
    }
    Ok(DeviceMatrix { format: Format::Fast(format), parts, codes: None, ..weights })
}

/// A part with its buffers, not yet filled.
struct FastPart {
    payload: Buffer,
    exceptions: Buffer,
    params: MatrixParams,
}

impl FastPart {
    async fn new(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        grid: &Grid,
        dense: &Part,
        table: &[u32],
    ) -> Result<Self, GpuError> {
        let first = dense.params.first_row as usize / crate::codec::grid::LANES;
        let row_blocks = dense.params.row_blocks() as usize;
        let mut params = MatrixParams::untiled(grid, first..first + row_blocks);
        params.tiles_at = fast::starts_at(row_blocks) as u32;
        params.coded_at = fast::entries_at(row_blocks) as u32;
        let payload = gpu.buffer(label, (fast::row_block_bytes(grid) * row_blocks) as u64, WEIGHTS)?;
        let exceptions = gpu.buffer(label, 4 * table.len() as u64, WEIGHTS)?;
        uploader.write(&exceptions, 0, bytemuck::cast_slice(table)).await?;
        Ok(Self { payload, exceptions, params })
    }

    fn into_part(self) -> Part {
        Part { payload: self.payload, exceptions: Some(self.exceptions), stage: None, params: self.params }
    }
}

async fn measure(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    part: &Part,
    dense: DenseFormat,
) -> Result<Vec<Row>, GpuError> {
    let len = 12 * u64::from(part.params.rows);
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let measured = gpu.buffer("measured", len, usage)?;
    let kernel = gpu.kernel(measure_variant(dense))?;
    run(gpu, &kernel, &part.params, weights.codes.as_ref(), &[&part.payload, &measured])?;
    let bytes = download(gpu, &measured, len).await?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect();
    Ok(words.as_chunks().0.iter().map(|&[lowest, a, b]| Row { lowest, without: [a, b] }).collect())
}

/// Runs a kernel with `params` over a part's row blocks: the dense words at binding 2, the table of codes
/// at 3, and what else is bound from 4 on.
fn run(
    gpu: &Gpu,
    kernel: &std::sync::Arc<crate::gpu::Kernel>,
    params: &MatrixParams,
    codes: Option<&Buffer>,
    buffers: &[&Buffer],
) -> Result<(), GpuError> {
    let mut bound: Vec<(u32, &Buffer)> = [2, 4, 5].into_iter().zip(buffers.iter().copied()).collect();
    bound.extend(codes.map(|b| (3, b)));
    let groups = [Workgroups::Fixed(params.row_blocks()), Workgroups::Fixed(1)];
    let dispatch = kernel.bind(gpu, params, &bound, groups)?;
    gpu.submit("transcode", |encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatch.record(&mut pass, Batch { tokens: 1, outputs: 1 });
    })
}
