//! The rows of a tensor that are looked at before it is planned how it is coded.

use std::borrow::Cow;

use rayon::prelude::*;

use super::source_rows::SourceRows;
use crate::tensor::Matrix;

/// At least so many units are looked at; of smaller tensors all are.
const SAMPLE_UNITS: usize = 1 << 16;

/// Of large tensors one row in so many is looked at.
const SAMPLE_SHARE: usize = 16;

/// Of rows that must be made to be looked at, no more units are.
const MADE_UNITS: usize = 4 << 20;

/// No more rows are looked at: what is kept of each would grow with the tensor.
const MOST_ROWS: usize = 1 << 20;

/// So much of a sample is worth another thread's while.
const PIECE_BYTES: usize = 256 << 10;

/// How far rows that are looked at lie apart.
pub(crate) fn rows_apart(matrix: Matrix, are_made: bool) -> usize {
    let apart = (matrix.len() / SAMPLE_UNITS).clamp(1, SAMPLE_SHARE).max(matrix.rows.div_ceil(MOST_ROWS));
    if are_made { apart.max(matrix.len() / MADE_UNITS) } else { apart }
}

/// Rows of a source that are looked at. No more of them are in memory than threads look at at a time, but for
/// those that must be made.
pub(crate) struct SampledRows<'a> {
    source: &'a SourceRows<'a>,
    every: usize,
    len: usize,
    /// End to end, where they must be made.
    made: Option<Vec<u8>>,
}

impl<'a> SampledRows<'a> {
    /// One row of every `every` of `source`, which is `matrix`.
    pub fn new(source: &'a SourceRows<'a>, matrix: Matrix, every: usize) -> Self {
        Self { source, every, len: matrix.rows.div_ceil(every), made: source.sampled(every) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The numbers of all.
    pub fn all(&self) -> Vec<usize> {
        (0..self.len).collect()
    }

    /// What `work` gives for some of the rows after the other, in the order in which `numbers` names them.
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
