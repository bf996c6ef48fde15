//! Dense tiles of BF16 to the fast layout. The twin is [`crate::gpu::weights::layouts::fast::transcode`].

use super::transcoding::{Table, Transcoding, Unordered};
use crate::codec::grid::{CHUNK, Grid, LANES};
use crate::gpu::weights::Words;
use crate::gpu::weights::layouts::fast::{self, Row};
use crate::gpu::weights::layouts::{DenseFormat, FastFormat, Format, Transcoded};
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::weights::words::WEIGHTS;
use crate::gpu::{Gpu, GpuError, Texel, Variant};

/// The kernel that measures rows of dense weights in `format`.
pub fn measure_variant(format: DenseFormat) -> Variant {
    ToFast::measure_variant(format)
}

/// The kernel that transcodes dense weights in `dense` to `fast`.
pub fn variant(dense: DenseFormat, fast: FastFormat) -> Variant {
    ToFast::variant(dense, fast)
}

/// What makes the fast layout.
pub(super) struct ToFast;

impl Transcoding for ToFast {
    type Row = Row;
    type Format = FastFormat;

    const LAYOUT: Transcoded = Transcoded::Fast;
    const ROW_WORDS: usize = fast::ROW_WORDS;
    const TEXEL: Texel = fast::TEXEL;
    // Each exception, and each column of the last chunk that the matrix does not have.
    const TRANSCODE_ROUNDS: u64 = fast::MOST_OF_ROW_BLOCK + CHUNK as u64;

    const MEASURE: &'static str = "measure";
    const TRANSCODE: &'static str = "transcode";

    fn zeros(format: FastFormat) -> bool {
        format.zeros
    }

    fn row(words: &[u32]) -> Row {
        Row { lowest: words[0], without: [words[1], words[2]] }
    }

    fn row_rounds(grid: &Grid) -> u64 {
        fast::row_rounds(grid.matrix.cols)
    }

    fn choose(grid: &Grid, rows: &[Row]) -> Option<FastFormat> {
        fast::choose(grid, rows)
    }

    fn stored(format: FastFormat) -> Format {
        Format::Fast(format)
    }

    fn table(grid: &Grid, rows: &[Row], format: FastFormat) -> Table {
        let words = fast::table(grid, rows, format);
        Table { len: words.len(), words }
    }

    fn place(params: &mut MatrixParams, grid: &Grid, rows: &[Row], _: FastFormat) {
        let row_blocks = rows.len().div_ceil(LANES);
        params.tiles_at = fast::starts_at(row_blocks) as u32;
        params.coded_at = fast::entries_at(grid, row_blocks) as u32;
    }

    /// Exceptions are rare, so reading them from a buffer takes no time.
    fn allocate(gpu: &Gpu, label: &str, len: u64) -> Result<Words, GpuError> {
        gpu.buffer(label, len, WEIGHTS).map(Words::Buffer)
    }

    fn beside(_: &Grid, rows: &[Row], format: FastFormat, _: u32) -> Vec<u32> {
        fast::found(rows, format)
    }

    /// Rows put their exceptions beside the table: their order there is by row, and in the table by column.
    fn unordered(rows: &[Row], format: FastFormat) -> Option<Unordered> {
        let from = rows.len() + 1..fast::found(rows, format).len();
        let to = fast::starts_at(rows.len().div_ceil(LANES));
        (!from.is_empty()).then_some(Unordered { from, to })
    }

    fn sort(grid: &Grid, rows: &[Row], format: FastFormat, entries: &mut [u32]) -> Vec<u32> {
        fast::in_order(grid, entries, rows, format)
    }
}
