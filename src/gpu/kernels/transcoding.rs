//! Dense tiles of BF16 to another layout, on the device: what is alike for all such layouts. Rows are measured, the host
//! chooses a format and says where each row goes, and a kernel writes the words.

use std::ops::Range;

use crate::codec::grid::{CHUNK, Grid, LANES};
use crate::gpu::weights::joining::{JoinedBuffers, MemberPlaces, TABLE_BYTES};
use crate::gpu::weights::layouts::{DenseFormat, Format, Transcoded, dense};
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};
use crate::gpu::weights::words::WEIGHTS;
use crate::gpu::weights::{DeviceMatrix, Join, Part, Words};
use crate::gpu::{
    Batch, Bound, Buffer, Choice, Dispatch, Gpu, GpuError, Invocations, Texel, Uploader, Variant, Workgroups,
    download,
};

/// The table that belongs to the words of a part.
pub(super) struct Table {
    /// The words that the host knows; all others are zero.
    pub words: Vec<u32>,
    /// Words altogether.
    pub len: usize,
}

/// How a layout is made from dense tiles.
pub(super) trait Transcoding {
    /// What is measured of a row.
    type Row: Clone + Send + Sync;
    /// What differs from one matrix to another.
    type Format: Copy + PartialEq + Send + Sync;

    /// The layout.
    const LAYOUT: Transcoded;
    /// Words that are measured of a row.
    const ROW_WORDS: usize;
    /// What shaders read at a time.
    const TEXEL: Texel;

    /// The kernel that measures rows of dense weights.
    const MEASURE: &'static str;
    /// The kernel that transcodes them.
    const TRANSCODE: &'static str;

    /// Whether one code of the format stands for zeros.
    fn zeros(format: Self::Format) -> bool;

    /// The kernel that measures rows of dense weights in `format`.
    fn measure_variant(format: DenseFormat) -> Variant {
        Format::Dense(format).apply(Variant::new(Self::MEASURE), Invocations::ONE_ROW_EACH)
    }

    /// The kernel that transcodes dense weights in `dense` to `format`.
    fn variant(dense: DenseFormat, format: Self::Format) -> Variant {
        Format::Dense(dense)
            .apply(Variant::new(Self::TRANSCODE), Invocations::ONE_ROW_EACH)
            .choose_if(Self::zeros(format), Choice::Zeros)
    }

    /// What the measured words of a row say.
    fn row(words: &[u32]) -> Self::Row;

    /// Iterations that transcoding a row can take besides those that read it.
    const TRANSCODE_ROUNDS: u64;

    /// Iterations of a product with rows of the matrix then.
    fn row_rounds(grid: &Grid) -> u64;

    /// How rows of a matrix are stored; `None` where it had better stay dense.
    fn choose(grid: &Grid, rows: &[Self::Row]) -> Option<Self::Format>;

    /// The format of the matrix then.
    fn stored(format: Self::Format) -> Format;

    /// The table of these rows, which are whole row blocks.
    fn table(grid: &Grid, rows: &[Self::Row], format: Self::Format) -> Table;

    /// Says where in that table what is.
    fn place(params: &mut MatrixParams, grid: &Grid, rows: &[Self::Row], format: Self::Format);

    /// Allocates `len` bytes for a table.
    fn allocate(gpu: &Gpu, label: &str, len: u64) -> Result<Words, GpuError>;

    /// What the kernel needs beside the table, at binding 6. The table begins at word `table` of what is bound.
    fn beside(grid: &Grid, rows: &[Self::Row], format: Self::Format, table: u32) -> Vec<u32>;

    /// The words beside the table that the kernel writes and the host puts into the table, if there are any.
    fn unordered(_: &[Self::Row], _: Self::Format) -> Option<Unordered> {
        None
    }

    /// What belongs in the table instead of them.
    fn sort(_: &Grid, _: &[Self::Row], _: Self::Format, entries: &mut [u32]) -> Vec<u32> {
        entries.to_vec()
    }
}

/// Words that the kernel does not write in the order of the table.
pub(super) struct Unordered {
    /// Their place beside the table, in words.
    pub from: Range<usize>,
    /// The word of the table that what becomes of them begins with.
    pub to: usize,
}

/// `weights` in the layout `T`, or unchanged if they should stay dense. Parts are freed as soon as they are
/// transcoded.
pub(super) async fn transcode<T: Transcoding>(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    weights: DeviceMatrix,
) -> Result<DeviceMatrix, GpuError> {
    let Some(rows) = measure::<T>(gpu, &weights).await? else { return Ok(weights) };
    make::<T>(gpu, uploader, label, weights, &rows).await
}

/// Like `transcode` for several matrices, each with the offset of its results in a token's. All are measured
/// first; those with the same format are joined.
pub(super) async fn transcode_joined<T: Transcoding>(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    matrices: Vec<(DeviceMatrix, usize)>,
    join: Join,
) -> Result<Vec<DeviceMatrix>, GpuError> {
    let (mut measured, mut formats) = (Vec::new(), Vec::new());
    for (weights, first_row) in matrices {
        let rows = measure::<T>(gpu, &weights).await?.unwrap_or_default();
        let format = T::choose(&weights.grid, &rows);
        formats.push(format.filter(|_| weights.parts.len() == 1 && !rows.is_empty()));
        measured.push(Some(Measured { weights, rows, first_row }));
    }
    let mut made = Vec::new();
    for group in join.groups(&formats) {
        let format = formats[group[0]];
        let mut members: Vec<Measured<T>> = group.into_iter().filter_map(|i| measured[i].take()).collect();
        match (members.len(), format) {
            (2.., Some(format)) => {
                made.extend(make_joined::<T>(gpu, uploader, label, members, format, join).await?)
            }
            _ => {
                for Measured { weights, rows, first_row } in members.drain(..) {
                    made.push(make::<T>(gpu, uploader, label, weights, &rows).await?.at_row(first_row));
                }
            }
        }
    }
    Ok(made)
}

/// Dense weights, and the measurements of their rows.
struct Measured<T: Transcoding> {
    weights: DeviceMatrix,
    rows: Vec<T::Row>,
    first_row: usize,
}

/// Several matrices in the layout `T`, in shared buffers. The dense weights of each are freed as soon as they
/// are transcoded.
async fn make_joined<T: Transcoding>(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    members: Vec<Measured<T>>,
    format: T::Format,
    join: Join,
) -> Result<Option<DeviceMatrix>, GpuError> {
    let mut places = MemberPlaces::new(join, T::stored(format));
    let (mut tables, mut table_len, mut starts) = (Vec::new(), 0, Vec::new());
    for Measured { weights, rows, first_row } in &members {
        starts.push((places.bytes, 4 * table_len as u64));
        let row_blocks = rows.len().div_ceil(LANES);
        let params = params::<T>(&weights.grid, 0..row_blocks, rows, format);
        let Table { words, len } = T::table(&weights.grid, rows, format);
        let len = len.next_multiple_of(TABLE_BYTES as usize / 4);
        places.add(params, *first_row, part_bytes::<T>(weights, row_blocks), len);
        tables.push((table_len, words));
        table_len += len;
    }
    let Some(grid) = members.first().map(|member| member.weights.grid) else { return Ok(None) };
    let payload = Words::new(gpu, label, places.bytes, T::TEXEL)?;
    let table = T::allocate(gpu, label, 4 * table_len as u64)?;
    for (at, words) in tables {
        uploader.write(&table, 4 * at as u64, bytemuck::cast_slice(&words)).await?;
    }
    for (Measured { weights, rows, .. }, (payload_at, table_at)) in members.into_iter().zip(starts) {
        let Some(part) = weights.parts.first() else { continue };
        let words_at = (payload_at / 16) as u32;
        let target = Target { payload: &payload, words_at, table: &table, table_at };
        fill::<T>(gpu, uploader, &weights, part, &rows, format, target).await?;
    }
    let buffers = JoinedBuffers { payload, table: Some(table), codes: None, stage: None };
    Ok(places.into_matrix(grid, buffers))
}

/// Measures all rows of dense weights; `None` for other weights, and for rows so long that the driver would end
/// the kernels' loops.
async fn measure<T: Transcoding>(gpu: &Gpu, weights: &DeviceMatrix) -> Result<Option<Vec<T::Row>>, GpuError> {
    let Format::Dense(dense) = weights.format else { return Ok(None) };
    let (cols, tiles) = (weights.matrix.cols, weights.grid.col_tiles);
    let rounds = loop_rounds::<T>(dense, cols, tiles).max(T::row_rounds(&weights.grid));
    if gpu.check_rounds("transcode", rounds).is_err() {
        return Ok(None);
    }
    let mut rows = Vec::with_capacity(weights.matrix.rows);
    for part in &weights.parts {
        rows.extend(measure_part::<T>(gpu, weights, part, dense).await?);
    }
    Ok(Some(rows))
}

/// Iterations of measuring, or of transcoding, rows of this many columns in tiles, whichever needs more.
fn loop_rounds<T: Transcoding>(dense: DenseFormat, cols: usize, tiles: usize) -> u64 {
    let (chunks, wide_chunks) = (cols.div_ceil(CHUNK) as u64, cols.div_ceil(WIDE_CHUNK) as u64);
    let through = chunks + dense.escape_rounds(chunks) + tiles as u64 * (dense::STREAM_ROUNDS + 2);
    dense::TABLE_ROUNDS + (2 * through).max(through + 2 * wide_chunks + T::TRANSCODE_ROUNDS)
}

/// The layout `T` of weights whose rows have the measurements `rows`.
async fn make<T: Transcoding>(
    gpu: &Gpu,
    uploader: &mut Uploader,
    label: &str,
    mut weights: DeviceMatrix,
    rows: &[T::Row],
) -> Result<DeviceMatrix, GpuError> {
    if rows.is_empty() || !matches!(weights.format, Format::Dense(_)) {
        return Ok(weights);
    }
    let Some(format) = T::choose(&weights.grid, rows) else { return Ok(weights) };
    let mut parts = Vec::with_capacity(weights.parts.len());
    let first_row = weights.parts.first().map_or(0, |part| part.params.first_row);
    for part in std::mem::take(&mut weights.parts) {
        let rows = &rows[(part.params.first_row - first_row) as usize..][..part.params.rows as usize];
        let first = part.params.first_row as usize / LANES;
        let row_blocks = part.params.row_blocks() as usize;
        let params = params::<T>(&weights.grid, first..first + row_blocks, rows, format);
        let Table { words, len } = T::table(&weights.grid, rows, format);
        let payload = Words::new(gpu, label, part_bytes::<T>(&weights, row_blocks), T::TEXEL)?;
        let table = T::allocate(gpu, label, 4 * len as u64)?;
        uploader.write(&table, 0, bytemuck::cast_slice(&words)).await?;
        let target = Target { payload: &payload, words_at: 0, table: &table, table_at: 0 };
        fill::<T>(gpu, uploader, &weights, &part, rows, format, target).await?;
        parts.push(Part { payload, table: Some(table), stage: None, params });
    }
    Ok(DeviceMatrix { format: T::stored(format), parts, codes: None, ..weights })
}

/// Bytes of this many row blocks, without their table.
fn part_bytes<T: Transcoding>(weights: &DeviceMatrix, row_blocks: usize) -> u64 {
    let each = T::LAYOUT.row_block_bytes(weights.format.dtype(), &weights.grid).unwrap_or(0);
    (each * row_blocks) as u64
}

/// Kernel parameters of these row blocks.
fn params<T: Transcoding>(
    grid: &Grid,
    row_blocks: Range<usize>,
    rows: &[T::Row],
    format: T::Format,
) -> MatrixParams {
    let mut params = MatrixParams::untiled(grid, row_blocks);
    T::place(&mut params, grid, rows, format);
    params
}

/// Where the transcoded weights of a part go.
#[derive(Clone, Copy)]
struct Target<'a> {
    payload: &'a Words,
    /// The vector of the payload that it begins with.
    words_at: u32,
    table: &'a Words,
    /// The byte of those words that the table begins at.
    table_at: u64,
}

/// Transcodes a part of dense weights whose rows have the measurements `rows`. The table has its first words
/// already.
async fn fill<T: Transcoding>(
    gpu: &Gpu,
    uploader: &mut Uploader,
    weights: &DeviceMatrix,
    part: &Part,
    rows: &[T::Row],
    format: T::Format,
    target: Target<'_>,
) -> Result<(), GpuError> {
    let Format::Dense(dense) = weights.format else { return Ok(()) };
    let Target { payload, words_at, table, table_at } = target;
    let kernel = gpu.kernel(part.payload.apply(payload.apply_written(T::variant(dense, format))))?;
    let mut params = part.params;
    params.words_at = words_at;
    let (to, first_word) = match table {
        Words::Buffer(buffer) => (Bound::Buffer { buffer, from: table_at }, 0),
        texture => (texture.into(), table_at / 4),
    };
    let words = T::beside(&weights.grid, rows, format, first_word as u32);
    let beside = gpu.buffer("beside", 4 * words.len() as u64, WEIGHTS)?;
    uploader.write(&beside, 0, bytemuck::cast_slice(&words)).await?;
    let buffers = [(&part.payload).into(), to, payload.into(), (&beside).into()];
    run(gpu, &kernel, &params, weights.codes.as_ref(), &buffers)?;
    let Some(Unordered { from, to }) = T::unordered(rows, format) else { return Ok(()) };
    let bytes = download(gpu, &beside, 4 * words.len() as u64).await?;
    let mut entries: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect();
    let entries = &mut entries[from];
    let sorted = T::sort(&weights.grid, rows, format, entries);
    uploader.write(table, table_at + 4 * to as u64, bytemuck::cast_slice(&sorted)).await
}

async fn measure_part<T: Transcoding>(
    gpu: &Gpu,
    weights: &DeviceMatrix,
    part: &Part,
    dense: DenseFormat,
) -> Result<Vec<T::Row>, GpuError> {
    let len = 4 * T::ROW_WORDS as u64 * u64::from(part.params.rows);
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let measured = gpu.buffer("measured", len, usage)?;
    let kernel = gpu.kernel(part.payload.apply(T::measure_variant(dense)))?;
    let buffers = [(&part.payload).into(), (&measured).into()];
    run(gpu, &kernel, &part.params, weights.codes.as_ref(), &buffers)?;
    let bytes = download(gpu, &measured, len).await?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect();
    Ok(words.chunks_exact(T::ROW_WORDS).map(T::row).collect())
}

/// Runs a kernel with `params` over a part's row blocks: the dense words at binding 2, the table of codes
/// at 3, and what else is bound from 4 on.
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
        Dispatch::record_all(encoder, [&dispatch], Batch { tokens: 1, outputs: 1 });
    })
}
