//! Encoding to the fast layout: `measure`, `place_fast`, `transcode`, `order_exceptions`. The twin is
//! [`crate::gpu::weights::layouts::fast::transcode`].

use bytemuck::{Pod, Zeroable};

use super::{Encode, Needs, from_wide, row_blocks};
use crate::codec::grid::{Grid, LANES};
use crate::gpu::weights::layouts::fast;
use crate::gpu::weights::layouts::{FastFormat, Format};
use crate::gpu::weights::matrix_params::{MatrixParams, WIDE_CHUNK};
use crate::gpu::{Dispatch, GpuError, Variant, Workgroups};

/// Exceptions that a row block may have: each of an invocation's is compared with all of them, and with what spans take,
/// of which the widest row has fewer than 500, that is as many iterations as llvmpipe allows.
pub(super) const MOST_OF_ROW_BLOCK: u32 = 2000;

/// `FastRoom` of `shaders/training/place_fast.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FastRoom {
    rows: u32,
    zeros: u32,
    piece: u32,
    starts: u32,
    most: u32,
    most_of_row_block: u32,
    spans: u32,
    unused: u32,
}

/// `Ordering` of `shaders/training/order_exceptions.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Ordering {
    rows: u32,
    starts: u32,
    entries: u32,
    spans: u32,
    span_chunks: u32,
    unused: [u32; 3],
}

/// What a piece needs, and its format.
pub(super) fn needs(grid: &Grid, bits: &[u16]) -> Option<(Format, Needs)> {
    let rows: Vec<fast::Row> = bits.chunks_exact(grid.matrix.cols).map(fast::measure).collect();
    let format = fast::choose(grid, &rows)?;
    let of_block = |rows: &[fast::Row]| rows.iter().map(|row| row.exceptions(format)).sum::<u32>();
    let most = rows.chunks(LANES).map(of_block).max().unwrap_or(0);
    let needs = Needs { exceptions: of_block(&rows), most, ..Needs::default() };
    (most <= MOST_OF_ROW_BLOCK).then_some((Format::Fast(format), needs))
}

/// Says where in the table is what. Gives bytes at fixed places, and words of the table.
pub(super) fn place(params: &mut MatrixParams, grid: &Grid, room: &Needs) -> [u64; 2] {
    params.tiles_at = fast::starts_at(grid.row_blocks) as u32;
    params.coded_at = fast::entries_at(grid, grid.row_blocks) as u32;
    let bytes = (fast::row_block_bytes(grid) * grid.row_blocks) as u64;
    [bytes, u64::from(params.coded_at) + u64::from(room.exceptions)]
}

/// The most that a piece of so many weights may need.
pub(super) fn most(weights: usize) -> Needs {
    let exceptions = u32::try_from(weights / 32 + 256).unwrap_or(u32::MAX);
    Needs { exceptions, most: MOST_OF_ROW_BLOCK, ..Needs::default() }
}

/// Bytes of what is measured, and of places.
pub(super) fn scratch_bytes(rows: usize, weights: usize) -> [u64; 2] {
    [4 * (fast::ROW_WORDS * rows) as u64, 4 * (rows as u64 + 1 + u64::from(most(weights).exceptions))]
}

/// The dispatches.
pub(super) fn encode(with: &Encode<'_>, format: FastFormat) -> Result<Vec<Dispatch>, GpuError> {
    let (gpu, scratch, encoded) = (with.gpu, with.scratch, with.encoded);
    let params = with.params();
    let [payload, table] = encoded.words();
    let (measured, found) = (&scratch.measured, &scratch.places);
    let measure = with.reads_rows(from_wide("measure", false), &[(4, measured.into())])?;
    let room = FastRoom {
        rows: params.rows,
        zeros: format.zeros.into(),
        piece: with.piece,
        starts: params.tiles_at,
        most: encoded.room.exceptions,
        most_of_row_block: MOST_OF_ROW_BLOCK,
        spans: params.spans,
        unused: 0,
    };
    let one = [Workgroups::Fixed(1); 2];
    let buffers = [(2, measured), (3, table), (4, found), (5, with.needs)];
    let place = gpu.kernel(Variant::new("place_fast"))?.bind(gpu, &room, &buffers, one)?;
    let buffers = [(4, table.into()), (5, payload.into()), (6, found.into())];
    let transcode = with.reads_rows(from_wide("transcode", format.zeros), &buffers)?;
    let ordering = Ordering {
        rows: params.rows,
        starts: params.tiles_at,
        entries: params.coded_at,
        spans: params.spans,
        span_chunks: params.span_cols / WIDE_CHUNK as u32,
        unused: [0; 3],
    };
    let kernel = gpu.kernel(Variant::new("order_exceptions"))?;
    let groups = [row_blocks(params.rows as usize) as u32, 1].map(Workgroups::Fixed);
    let order = kernel.bind(gpu, &ordering, &[(2, found), (3, table)], groups)?;
    Ok(vec![measure, place, transcode, order])
}

/// All variants.
pub(super) fn variants() -> Vec<Variant> {
    let mut all =
        vec![from_wide("measure", false), Variant::new("place_fast"), Variant::new("order_exceptions")];
    all.extend([false, true].map(|zeros| from_wide("transcode", zeros)));
    all
}
