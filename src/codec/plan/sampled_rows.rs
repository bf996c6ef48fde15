//! The sample of a tensor's rows from which its coding is planned.

use std::borrow::Cow;

use rayon::prelude::*;

use super::source_rows::SourceRows;
use crate::tensor::Matrix;

/// Minimum units in a sample; of smaller tensors, all units are used.
const SAMPLE_UNITS: usize = 1 << 16;

/// In large tensors, one row in this many is sampled.
const SAMPLE_SHARE: usize = 16;

/// Maximum units in a sample whose rows must be computed.
const MADE_UNITS: usize = 4 << 20;

/// Maximum rows in a sample, because the data kept for each row would grow with the tensor.
const MOST_ROWS: usize = 1 << 20;

/// Minimum bytes of a sample that justify another thread.
const PIECE_BYTES: usize = 256 << 10;

/// Distance between sampled rows.
pub(crate) fn rows_apart(matrix: Matrix, are_made: bool) -> usize {
    let apart = (matrix.len() / SAMPLE_UNITS).clamp(1, SAMPLE_SHARE).max(matrix.rows.div_ceil(MOST_ROWS));
    if are_made { apart.max(matrix.len() / MADE_UNITS) } else { apart }
}

/// The sampled rows of a source. Only the rows that threads are reading are in memory, unless rows must be
/// computed.
pub(crate) struct SampledRows<'a> {
    source: &'a SourceRows<'a>,
    every: usize,
    len: usize,
    /// The rows end to end, if they must be computed.
    made: Option<Vec<u8>>,
}

impl<'a> SampledRows<'a> {
    /// Every `every`th row of `source`, which is `matrix`.
    pub fn new(source: &'a SourceRows<'a>, matrix: Matrix, every: usize) -> Self {
        Self { source, every, len: matrix.rows.div_ceil(every), made: source.sampled(every) }
    }

    /// Number of sampled rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The indices of all sampled rows.
    pub fn all(&self) -> Vec<usize> {
        (0..self.len).collect()
    }

    /// The results of `work` for pieces of the sample, in the order of the rows in `numbers`.
    pub fn pieces<T: Send>(
        &self,
        numbers: &[usize],
        work: impl Fn(&[&[u8]]) -> T + Sync + Send,
    ) -> impl IndexedParallelIterator<Item = T> {
        let row_bytes = self.source.row_bytes();
        let a_piece = (PIECE_BYTES / row_bytes.max(1)).max(1);
        numbers.par_chunks(a_piece).map(move |numbers| {
            let rows: Vec<Cow<'_, [u8]>> = numbers.iter().map(|&number| self.row(number)).collect();
            work(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>())
        })
    }

    fn row(&self, number: usize) -> Cow<'_, [u8]> {
        let (row_bytes, row) = (self.source.row_bytes(), number * self.every);
        match &self.made {
            Some(made) => Cow::Borrowed(&made[number * row_bytes..][..row_bytes]),
            None => self.source.rows(row..row + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_rows_are_looked_at_than_are_kept() {
        let apart = |rows, cols| rows_apart(Matrix { rows, cols }, false);
        assert_eq!([apart(64, 64), apart(1024, 128), apart(4096, 4096)], [1, 2, 16]);
        for rows in [1 << 24, 1 << 30, 50_000_000_000usize] {
            assert!(rows.div_ceil(apart(rows, 64)) <= MOST_ROWS, "{rows}");
        }
        assert_eq!((apart(1 << 24, 64), apart(1, 1 << 32)), (16, 16));
        let made = |rows: usize, cols| rows.div_ceil(rows_apart(Matrix { rows, cols }, true)) * cols;
        assert!(made(100_000, 4096) <= 2 * MADE_UNITS && made(1 << 30, 64) <= 2 * MADE_UNITS);
    }
}
