//! Dense tiles of BF16 to the tiered layout. The twin is [`crate::gpu::weights::layouts::tiered::transcode`].

use super::transcoding::{Table, Transcoding};
use crate::codec::grid::Grid;
use crate::gpu::weights::Words;
use crate::gpu::weights::layouts::tiered::{self, Row};
use crate::gpu::weights::layouts::{DenseFormat, Format, TieredFormat, Transcoded};
use crate::gpu::weights::matrix_params::MatrixParams;
use crate::gpu::{Gpu, GpuError, Texel, Variant};

/// The kernel that measures rows of dense weights in `format`.
pub fn measure_variant(format: DenseFormat) -> Variant {
    ToTiered::measure_variant(format)
}

/// The kernel that transcodes dense weights in `dense` to `tiered`.
pub fn variant(dense: DenseFormat, tiered: TieredFormat) -> Variant {
    ToTiered::variant(dense, tiered)
}

/// What makes the tiered layout.
pub(super) struct ToTiered;

impl Transcoding for ToTiered {
    type Row = Row;
    type Format = TieredFormat;

    const LAYOUT: Transcoded = Transcoded::Tiered;
    const ROW_WORDS: usize = tiered::ROW_WORDS;
    const TEXEL: Texel = tiered::TEXEL;
    const TRANSCODE_ROUNDS: u64 = 0;

    const MEASURE: &'static str = "measure_tiered";
    const TRANSCODE: &'static str = "transcode_tiered";

    fn zeros(format: TieredFormat) -> bool {
        format.zeros
    }

    fn row(words: &[u32]) -> Row {
        Row::of_words(words)
    }

    fn row_rounds(grid: &Grid) -> u64 {
        tiered::row_rounds(grid)
    }

    fn choose(grid: &Grid, rows: &[Row]) -> Option<TieredFormat> {
        tiered::choose(grid, rows)
    }

    fn stored(format: TieredFormat) -> Format {
        Format::Tiered(format)
    }

    fn table(grid: &Grid, rows: &[Row], format: TieredFormat) -> Table {
        let len = tiered::places(grid, rows, format).map_or(0, |places| places.len as usize);
        Table { words: tiered::table(grid, rows, format), len }
    }

    fn place(params: &mut MatrixParams, grid: &Grid, rows: &[Row], format: TieredFormat) {
        let Some(places) = tiered::places(grid, rows, format) else { return };
        params.tiles_at = places.firsts;
        params.coded_at = places.exceptions;
        params.masks_at = places.streams;
    }

    /// Each chunk reads words of the streams.
    fn allocate(gpu: &Gpu, label: &str, len: u64) -> Result<Words, GpuError> {
        Words::new(gpu, label, len, Texel::Word)
    }

    fn beside(grid: &Grid, rows: &[Row], format: TieredFormat, table: u32) -> Vec<u32> {
        tiered::row_places(grid, rows, format, table)
    }
}
