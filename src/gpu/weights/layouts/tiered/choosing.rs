//! Which format a matrix has.

use super::row::{EXCEPTION_BITS, Row};
use super::table::{most_table_bytes, places};
use super::{MOST_OF_ROW, TieredFormat};
use crate::codec::grid::{Grid, LANES};

/// Zeros have a code if that saves so many exceptions, one weight in so many.
const MANY_ZEROS: u64 = 1024;

/// How rows of a matrix are stored; `None` where it had better stay dense.
pub(in crate::gpu) fn choose(grid: &Grid, rows: &[Row]) -> Option<TieredFormat> {
    let [plain, zeros] = [false, true].map(|zeros| TieredFormat { zeros });
    let cost = |format| rows.iter().map(|row| row.stream(format).cost()).sum::<u64>();
    let weights = rows.len() as u64 * grid.matrix.cols as u64;
    // A code for zeros is another variant of each kernel, and slower to read.
    let is_worth_it = cost(plain) > cost(zeros) + EXCEPTION_BITS * weights / MANY_ZEROS;
    let format = if is_worth_it { zeros } else { plain };
    if rows.iter().any(|row| row.stream(format).exceptions > MOST_OF_ROW) {
        return None;
    }
    let row_blocks = rows.len().div_ceil(LANES);
    let bytes = 4 * places(grid, rows, format)?.len as u64;
    (bytes <= most_table_bytes(grid, row_blocks)).then_some(format)
}
