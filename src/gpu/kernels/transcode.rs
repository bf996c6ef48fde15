//! Converting dense tiles of BF16 to the fast layout on the device. The twin is
//! [`crate::gpu::weights::layouts::fast::transcode`].

use std::ops::Range;

use crate::codec::Payload;
use crate::codec::grid::{CHUNK, Grid, LANES};
use crate::gpu::weights::joining::{JoinedBuffers, MemberPlaces};
use crate::gpu::weights::layouts::fast::{self, Row};
use crate::gpu::weights::layouts::{DenseFormat, FastFormat, Format, dense};
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};
use crate::gpu::weights::words::WEIGHTS;
use crate::gpu::weights::{DeviceMatrix, Join, Part, Tiles, Words};
use crate::gpu::{
    Batch, Bound, Buffer, Choice, Gpu, GpuError, Invocations, Uploader, Variant, Workgroups, download,
};

/// Bytes of the measurements of a row.
const ROW_BYTES: u64 = 12;

/// The kernel that measures rows of dense weights in `format`.
pub fn measure_variant(format: DenseFormat) -> Variant {
    Format::Dense(format).apply(Variant::new("measure"), Invocations::ONE_ROW_EACH)
}

/// The kernel that transcodes dense weights in `dense` to `fast`.
pub fn variant(dense: DenseFormat, fast: FastFormat) -> Variant {
    Format::Dense(dense)
        .apply(Variant::new("transcode"), Invocations::ONE_ROW_EACH)
        .choose_if(fast.zeros, Choice::Zeros)
}

/// Maximum temporary bytes next to dense tiles and the fast layout: the measurements of each row, and its
/// exceptions before they are sorted. Both are downloaded.
pub fn most_bytes_beside(rows: usize, cols: usize) -> u64 {
    let measured = Gpu::buffer_bytes(ROW_BYTES * rows as u64) + 4096;
    2 * (measured + Gpu::buffer_bytes(fast::most_found_bytes(rows, cols)))
}

impl DeviceMatrix {
    /// Uploads a tiled payload and transcodes it to the fast layout. A payload of another type than BF16, or
    /// with too many exceptions, stays dense. `None` if [`Self::upload_tiled`] returns `None`.
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

    /// The same weights in the fast layout, or unchanged if they should stay dense. Their parts must [have
    /// room](Tiles::fast_row_block_bytes) for it.
    pub async fn into_fast(self, gpu: &Gpu, uploader: &mut Uploader, label: &str) -> Result<Self, GpuError> {
        transcode(gpu, uploader, label, self).await
    }

    /// Like `into_fast` for several matrices, each with the offset of its results in a token's. Matrices with
    /// the same layout are joined.
    pub async fn into_fast_joined(
        gpu: &Gpu,
        uploader: &mut Uploader,
        label: &str,
        matrices: Vec<(Self, usize)>,
        join: Join,
    ) -> Result<Vec<Self>, GpuError> {
        transcode_joined(gpu, uploader, label, matrices, join).await
    }
}

/// The fast layout of `weights`, or `weights` if they should stay dense. Parts are freed as soon as they are
/// transcoded.
async fn transcode(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    weights: DeviceMatrix,
) -> Result<DeviceMatrix, GpuError> {
    let Some(rows) = measure(gpu, &weights).await? else { return Ok(weights) };
    make(gpu, uploader, label, weights, &rows).await
}

/// Like `transcode` for several matrices, each with the offset of its results in a token's. All are measured
/// first; those with the same layout are joined.
async fn transcode_joined(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    matrices: Vec<(DeviceMatrix, usize)>,
    join: Join,
) -> Result<Vec<DeviceMatrix>, GpuError> {
    let (mut measured, mut formats) = (Vec::new(), Vec::new());
    for (weights, first_row) in matrices {
        let rows = measure(gpu, &weights).await?.unwrap_or_default();
        let format = fast::choose(&weights.grid, &rows);
        formats.push(format.filter(|_| weights.parts.len() == 1 && !rows.is_empty()));
        measured.push(Some(Measured { weights, rows, first_row }));
    }
    let mut made = Vec::new();
    for group in join.groups(&formats) {
        let format = formats[group[0]];
        let mut members: Vec<Measured> = group.into_iter().filter_map(|i| measured[i].take()).collect();
        match (members.len(), format) {
            (2.., Some(format)) => {
                made.extend(make_joined(gpu, uploader, label, members, format, join).await?)
            }
            _ => {
                for Measured { weights, rows, first_row } in members.drain(..) {
                    made.push(make(gpu, uploader, label, weights, &rows).await?.at_row(first_row));
                }
            }
        }
    }
    Ok(made)
}

/// Dense weights, and the measurements of their rows.
struct Measured {
    weights: DeviceMatrix,
    rows: Vec<Row>,
    first_row: usize,
}

/// The fast layout of several matrices in shared buffers. Each one's dense weights are freed as soon as they
/// are transcoded.
async fn make_joined(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    members: Vec<Measured>,
    format: FastFormat,
    join: Join,
) -> Result<Option<DeviceMatrix>, GpuError> {
    let mut places = MemberPlaces::new(join, Format::Fast(format));
    let (mut table, mut starts) = (Vec::new(), Vec::new());
    for Measured { weights, rows, first_row } in &members {
        starts.push((places.bytes, 4 * table.len() as u64));
        let row_blocks = rows.len().div_ceil(LANES);
        let params = fast_params(&weights.grid, 0..row_blocks);
        let mut own = fast::table(rows, format);
        own.resize(own.len().next_multiple_of(fast::TABLE_BYTES as usize / 4), 0);
        let bytes = (fast::row_block_bytes(&weights.grid) * row_blocks) as u64;
        places.add(params, *first_row, bytes, own.len());
        table.append(&mut own);
    }
    let Some(grid) = members.first().map(|member| member.weights.grid) else { return Ok(None) };
    let payload = Words::new(gpu, label, places.bytes, fast::TEXEL)?;
    let exceptions = gpu.buffer(label, 4 * table.len() as u64, WEIGHTS)?;
    uploader.write(&exceptions, 0, bytemuck::cast_slice(&table)).await?;
    for (Measured { weights, rows, .. }, (payload_at, table_at)) in members.into_iter().zip(starts) {
        let Some(part) = weights.parts.first() else { continue };
        let words_at = (payload_at / 16) as u32;
        let target = Target { payload: &payload, words_at, table: &exceptions, table_at };
        fill(gpu, uploader, &weights, part, &rows, format, target).await?;
    }
    let buffers = JoinedBuffers { payload, exceptions: Some(exceptions), codes: None, stage: None };
    Ok(places.into_matrix(grid, buffers))
}

/// Measures all rows of dense weights; `None` for other weights, and for rows so long that the driver would
/// end the kernels' loops.
async fn measure(gpu: &Gpu, weights: &DeviceMatrix) -> Result<Option<Vec<Row>>, GpuError> {
    let Format::Dense(dense) = weights.format else { return Ok(None) };
    let (cols, tiles) = (weights.matrix.cols, weights.grid.col_tiles);
    let rounds = loop_rounds(cols, tiles).max(fast::row_rounds(cols));
    if gpu.check_rounds("transcode", rounds).is_err() {
        return Ok(None);
    }
    let mut rows = Vec::with_capacity(weights.matrix.rows);
    for part in &weights.parts {
        rows.extend(measure_part(gpu, weights, part, dense).await?);
    }
    Ok(Some(rows))
}

/// Iterations of measuring, or of transcoding, rows of this many columns in tiles, whichever needs more.
fn loop_rounds(cols: usize, tiles: usize) -> u64 {
    let (chunks, wide_chunks) = (cols.div_ceil(CHUNK) as u64, cols.div_ceil(WIDE_CHUNK) as u64);
    let through = chunks + tiles as u64 * (dense::STREAM_ROUNDS + 2);
    (2 * through).max(through + 2 * wide_chunks + fast::MOST_OF_ROW_BLOCK)
}

/// The fast layout of weights whose rows have the measurements `rows`.
async fn make(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    mut weights: DeviceMatrix,
    rows: &[Row],
) -> Result<DeviceMatrix, GpuError> {
    if rows.is_empty() || !matches!(weights.format, Format::Dense(_)) {
        return Ok(weights);
    }
    let Some(format) = fast::choose(&weights.grid, rows) else { return Ok(weights) };
    let mut parts = Vec::with_capacity(weights.parts.len());
    let first_row = weights.parts.first().map_or(0, |part| part.params.first_row);
    for part in std::mem::take(&mut weights.parts) {
        let rows = &rows[(part.params.first_row - first_row) as usize..][..part.params.rows as usize];
        let table = fast::table(rows, format);
        let made = FastPart::new(gpu, uploader, label, &weights.grid, &part, &table).await?;
        let words_at = part.params.words_at;
        let target = Target { payload: &made.payload, words_at, table: &made.exceptions, table_at: 0 };
        fill(gpu, uploader, &weights, &part, rows, format, target).await?;
        parts.push(made.into_part());
    }
    Ok(DeviceMatrix { format: Format::Fast(format), parts, codes: None, ..weights })
}

/// A part with its buffers, which are not filled yet.
struct FastPart {
    payload: Words,
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
        let first = dense.params.first_row as usize / LANES;
        let row_blocks = dense.params.row_blocks() as usize;
        let params = fast_params(grid, first..first + row_blocks);
        let bytes = (fast::row_block_bytes(grid) * row_blocks) as u64;
        let payload = Words::new(gpu, label, bytes, fast::TEXEL)?;
        let exceptions = gpu.buffer(label, 4 * table.len() as u64, WEIGHTS)?;
        uploader.write(&exceptions, 0, bytemuck::cast_slice(table)).await?;
        Ok(Self { payload, exceptions, params })
    }

    fn into_part(self) -> Part {
        Part { payload: self.payload, exceptions: Some(self.exceptions), stage: None, params: self.params }
    }
}

/// The parameters of these row blocks in the fast layout.
fn fast_params(grid: &Grid, row_blocks: Range<usize>) -> MatrixParams {
    let mut params = MatrixParams::untiled(grid, row_blocks.clone());
    params.tiles_at = fast::starts_at(row_blocks.len()) as u32;
    params.coded_at = fast::entries_at(row_blocks.len()) as u32;
    params
}

/// The destination of a part's fast layout.
#[derive(Clone, Copy)]
struct Target<'a> {
    payload: &'a Words,
    /// Index of its first vector in the payload.
    words_at: u32,
    table: &'a Buffer,
    /// Offset of the table in that buffer.
    table_at: u64,
}

/// Transcodes a part of dense weights whose rows have the measurements `rows`. The table is complete except
/// for its exceptions.
async fn fill(
    gpu: &Gpu,
    uploader: &mut Uploader,
    weights: &DeviceMatrix,
    part: &Part,
    rows: &[Row],
    format: FastFormat,
    target: Target<'_>,
) -> Result<(), GpuError> {
    let Format::Dense(dense) = weights.format else { return Ok(()) };
    let Target { payload, words_at, table, table_at } = target;
    let kernel = gpu.kernel(part.payload.apply(payload.apply_written(variant(dense, format))))?;
    let mut params = part.params;
    params.words_at = words_at;
    let words = fast::found(rows, format);
    // Rows write their exceptions here, which are not sorted yet.
    let found = gpu.buffer("found", 4 * words.len() as u64, WEIGHTS)?;
    uploader.write(&found, 0, bytemuck::cast_slice(&words)).await?;
    let to = Bound::Buffer { buffer: table, from: table_at };
    let buffers = [(&part.payload).into(), to, payload.into(), (&found).into()];
    run(gpu, &kernel, &params, weights.codes.as_ref(), &buffers)?;
    let starts = rows.len() + 1;
    if words.len() == starts {
        return Ok(());
    }
    let bytes = download(gpu, &found, 4 * words.len() as u64).await?;
    let entries = bytes.as_chunks().0.iter().skip(starts);
    let mut entries: Vec<u32> = entries.map(|&b| u32::from_ne_bytes(b)).collect();
    fast::in_order(&mut entries, rows, format);
    let at = table_at + 4 * fast::entries_at(rows.len().div_ceil(LANES)) as u64;
    uploader.write(table, at, bytemuck::cast_slice(&entries)).await
}

async fn measure_part(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    part: &Part,
    dense: DenseFormat,
) -> Result<Vec<Row>, GpuError> {
    let len = ROW_BYTES * u64::from(part.params.rows);
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let measured = gpu.buffer("measured", len, usage)?;
    let kernel = gpu.kernel(part.payload.apply(measure_variant(dense)))?;
    let buffers = [(&part.payload).into(), (&measured).into()];
    run(gpu, &kernel, &part.params, weights.codes.as_ref(), &buffers)?;
    let bytes = download(gpu, &measured, len).await?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect();
    Ok(words.as_chunks().0.iter().map(|&[lowest, a, b]| Row { lowest, without: [a, b] }).collect())
}

/// Runs a kernel with `params` over a part's row blocks: the dense words are bound at 2, the table of codes
/// at 3, and the other `buffers` from 4 on.
fn run(
    gpu: &Gpu,
    kernel: &std::sync::Arc<crate::gpu::Kernel>,
    params: &MatrixParams,
    codes: Option<&Buffer>,
    buffers: &[Bound<'_>],
) -> Result<(), GpuError> {
    let mut bound: Vec<(u32, Bound<'_>)> = [2, 4, 5, 6].into_iter().zip(buffers.iter().copied()).collect();
    bound.extend(codes.map(|b| (3, b.into())));
    let groups = [Workgroups::Fixed(params.row_blocks()), Workgroups::Fixed(1)];
    let dispatch = kernel.bind(gpu, params, &bound, groups)?;
    gpu.submit("transcode", |encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatch.record(&mut pass, Batch { tokens: 1, outputs: 1 });
    })
}
