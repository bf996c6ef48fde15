//! Encoding to the tiered layout: `measure_tiered`, `place_tiered`, `transcode_tiered`. The twin is
//! [`crate::gpu::weights::layouts::tiered::transcode`].

use bytemuck::{Pod, Zeroable};

use super::{Encode, Needs, from_wide};
use crate::codec::grid::Grid;
use crate::gpu::weights::layouts::tiered::{self, Places, Row};
use crate::gpu::weights::layouts::{Format, TieredFormat};
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::{Dispatch, GpuError, Variant, Workgroups};

/// Exceptions that a row may have.
pub(super) const MOST_OF_ROW: u32 = tiered::MOST_OF_ROW;

/// `TieredRoom` of `shaders/training/place_tiered.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TieredRoom {
    rows: u32,
    spans: u32,
    zeros: u32,
    piece: u32,
    firsts: u32,
    exceptions: u32,
    streams: u32,
    end: u32,
    most_of_row: u32,
    unused: [u32; 3],
}

/// What a piece needs, and its format.
pub(super) fn needs(grid: &Grid, bits: &[u16]) -> Option<(Format, Needs)> {
    let rows: Vec<Row> = bits.chunks_exact(grid.matrix.cols).map(Row::measure).collect();
    let format = tiered::choose(grid, &rows)?;
    let streams = || rows.iter().map(|row| row.stream(format));
    let needs = Needs {
        exceptions: streams().map(|stream| stream.exceptions).sum(),
        stream_words: streams().map(|stream| stream.words()).sum(),
        most: streams().map(|stream| stream.exceptions).max().unwrap_or(0),
        unused: 0,
    };
    Some((Format::Tiered(format), needs))
}

/// Says where in the table is what. Gives bytes at fixed places, and words of the table.
pub(super) fn place(params: &mut MatrixParams, grid: &Grid, room: &Needs) -> [u64; 2] {
    let places = Places::with_room(grid, grid.row_blocks, room.exceptions, room.stream_words);
    params.tiles_at = places.firsts;
    params.coded_at = places.exceptions;
    params.masks_at = places.streams;
    [(tiered::row_block_bytes(grid) * grid.row_blocks) as u64, places.len.into()]
}

/// The most that a piece may need.
pub(super) fn most() -> Needs {
    Needs { exceptions: u32::MAX, stream_words: (1 << 24) - 1, most: MOST_OF_ROW, unused: 0 }
}

/// Bytes of what is measured, and of places.
pub(super) fn scratch_bytes(rows: usize) -> [u64; 2] {
    [4 * (tiered::ROW_WORDS * rows) as u64, 4 * (4 + 2 * rows) as u64]
}

/// The dispatches.
pub(super) fn encode(with: &Encode<'_>, format: TieredFormat) -> Result<Vec<Dispatch>, GpuError> {
    let (gpu, scratch) = (with.gpu, with.scratch);
    let params = with.params();
    let [payload, table] = with.encoded.words();
    let (measured, places) = (&scratch.measured, &scratch.places);
    let measure = with.reads_rows(from_wide("measure_tiered", false), &[(4, measured.into())])?;
    let room = TieredRoom {
        rows: params.rows,
        spans: params.spans,
        zeros: format.zeros.into(),
        piece: with.piece,
        firsts: params.tiles_at,
        exceptions: params.coded_at,
        streams: params.masks_at,
        end: params.masks_at + with.encoded.room.stream_words,
        most_of_row: MOST_OF_ROW,
        unused: [0; 3],
    };
    let buffers = [(2, measured), (3, table), (4, places), (5, with.needs)];
    let one = [Workgroups::Fixed(1); 2];
    let place = gpu.kernel(Variant::new("place_tiered"))?.bind(gpu, &room, &buffers, one)?;
    let buffers = [(4, table.into()), (5, payload.into()), (6, places.into())];
    let transcode = with.reads_rows(from_wide("transcode_tiered", format.zeros), &buffers)?;
    Ok(vec![measure, place, transcode])
}

/// All variants.
pub(super) fn variants() -> Vec<Variant> {
    let mut all = vec![from_wide("measure_tiered", false), Variant::new("place_tiered")];
    all.extend([false, true].map(|zeros| from_wide("transcode_tiered", zeros)));
    all
}
