//! The rows that an encoder codes: the tensor's own, or their quotients.

use std::borrow::Cow;
use std::ops::Range;

use super::scales::scales_of;
use super::tensor_source::TensorSource;
use crate::codec::payload::grid::{Grid, LANES};
use crate::codec::payload::lossy::Lossy;
use crate::codec::payload::scaled::Scaled;
use crate::codec::payload::unit_format::UnitFormat;
use crate::tensor::{Dtype, Matrix};

/// A matrix of units: the tensor itself, or quotients that are computed on request.
pub(crate) struct SourceRows<'a> {
    matrix: Matrix,
    /// The type of the units.
    pub dtype: Dtype,
    data: &'a dyn TensorSource,
    rounding: Option<Rounding>,
}

/// How elements are rounded.
#[derive(Debug)]
pub(crate) struct Rounding {
    pub lossy: Lossy,
    pub scaled: Scaled,
    grid: Grid,
}

impl<'a> SourceRows<'a> {
    /// The unchanged matrix of units of `dtype`.
    pub fn new(dtype: Dtype, matrix: Matrix, data: &'a dyn TensorSource) -> Self {
        Self { matrix, dtype, data, rounding: None }
    }

    /// The quotients of a matrix of elements of `dtype`: a BF16 for each. `None` if an element is not finite.
    pub fn rounded(dtype: Dtype, matrix: Matrix, data: &'a dyn TensorSource, lossy: Lossy) -> Option<Self> {
        let grid = Grid::with_tile_cols(matrix, lossy.block());
        let rounding = Rounding { lossy, scaled: scales_of(dtype, &grid, data)?, grid };
        Some(Self { matrix, dtype: Dtype::BF16, data, rounding: Some(rounding) })
    }

    /// How elements are rounded; `None` if they are not.
    pub fn rounding(&self) -> Option<&Rounding> {
        self.rounding.as_ref()
    }

    /// The division of the matrix into tiles.
    pub fn grid(&self) -> Grid {
        self.rounding.as_ref().map_or_else(|| Grid::for_matrix(self.matrix), |rounding| rounding.grid)
    }

    /// Bytes of the tensor.
    pub fn original_len(&self) -> usize {
        self.data.size()
    }

    /// Bytes of a row of units.
    pub fn row_bytes(&self) -> usize {
        self.matrix.cols * usize::from(UnitFormat::of(self.dtype).unit_bytes)
    }

    /// The units of some rows.
    pub fn rows(&self, rows: Range<usize>) -> Cow<'a, [u8]> {
        let each = self.data.size() / self.matrix.rows.max(1);
        let data = self.data.bytes(each * rows.start..each * rows.end.min(self.matrix.rows));
        match &self.rounding {
            None => data,
            Some(Rounding { lossy, scaled, grid }) => {
                scaled.quotients(grid, lossy.mantissa_bits(), rows.start, &data).into()
            }
        }
    }

    /// The units of some row blocks.
    pub fn row_blocks(&self, row_blocks: Range<usize>) -> Cow<'a, [u8]> {
        self.rows(LANES * row_blocks.start..LANES * row_blocks.end)
    }

    /// Every `every`th row, end to end; `None` if [`SourceRows::rows`] returns them without computing them.
    pub fn sampled(&self, every: usize) -> Option<Vec<u8>> {
        self.rounding.as_ref()?;
        let mut sampled = Vec::with_capacity(self.row_bytes() * self.matrix.rows.div_ceil(every));
        for row in (0..self.matrix.rows).step_by(every) {
            sampled.extend_from_slice(&self.rows(row..row + 1));
        }
        Some(sampled)
    }
}
