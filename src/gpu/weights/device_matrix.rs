//! A weight matrix in device memory, raw or compressed, in parts that each fit a binding.

use super::joined::Joined;
use super::layouts::Format;
use super::matrix_params::{self, MatrixParams, WIDE_CHUNK};
use super::words::Words;
use crate::codec::grid::Grid;
use crate::gpu::{Bound, Buffer, Variant};
use crate::tensor::Matrix;

/// The rows of a matrix that are in one buffer.
#[derive(Debug)]
pub struct Part {
    /// The words that shaders read.
    pub payload: Words,
    /// The table beside them: exceptions, in layouts that are made on the device.
    pub table: Option<Words>,
    /// The streamed stage whose slot contains it; `None` if it is resident.
    pub stage: Option<usize>,
    pub(in crate::gpu) params: MatrixParams,
}

/// A weight matrix on a device, or some of its rows.
#[derive(Debug)]
pub struct DeviceMatrix {
    /// The layout of its weights.
    pub format: Format,
    /// Its size, or that of the rows that are present.
    pub matrix: Matrix,
    /// Its rows, in order.
    pub parts: Vec<Part>,
    /// For dense tiles, the table in which windows of the streams are looked up.
    pub codes: Option<Buffer>,
    /// Its members, if it consists of joined matrices. They are then in one part.
    pub joined: Option<Joined>,
    pub(in crate::gpu) grid: Grid,
}

impl DeviceMatrix {
    /// Bytes in device memory, without those in a slot.
    pub fn bytes(&self) -> u64 {
        let part = |part: &Part| part.payload.own_bytes() + part.table.as_ref().map_or(0, Words::size);
        self.parts.iter().map(part).sum::<u64>() + self.codes.as_ref().map_or(0, Buffer::size)
    }

    /// Columns, rounded up to whole chunks of any layout: the padded length of a row of activations.
    pub fn padded_cols(&self) -> usize {
        self.grid.matrix.cols.next_multiple_of(WIDE_CHUNK)
    }

    /// Sets in a kernel where the words are, which is the same for all parts.
    pub(in crate::gpu) fn apply_words(&self, variant: Variant) -> Variant {
        match self.parts.first() {
            Some(part) => part.payload.apply(variant),
            None => variant,
        }
    }

    /// The table that is bound next to a part's words.
    pub(in crate::gpu) fn table<'a>(&'a self, part: &'a Part) -> Option<Bound<'a>> {
        part.table.as_ref().map(Bound::from).or(self.codes.as_ref().map(Bound::from))
    }

    /// Columns of a span, whose products are summed first. It does not depend on the layout.
    pub fn span_cols(&self) -> usize {
        matrix_params::span_cols(self.matrix)
    }

    /// Number of spans that can be read separately: one if tiles reach across spans.
    pub(in crate::gpu) fn splits(&self) -> u32 {
        let reach_across = !self.span_cols().is_multiple_of(self.grid.tile_cols.max(1));
        match self.format.layout().is_tiled() && reach_across {
            true => 1,
            false => self.matrix.cols.div_ceil(self.span_cols()) as u32,
        }
    }

    /// Whether spans contain parts of several tiles.
    pub(in crate::gpu) fn spans_have_pieces(&self) -> bool {
        self.format.layout().is_tiled() && self.span_cols() != self.grid.tile_cols
    }

    /// Row blocks of `part`, for all matrices that are joined in it.
    pub(in crate::gpu) fn row_blocks_of(&self, part: &Part) -> u32 {
        self.params_of(part).0.iter().map(MatrixParams::row_blocks).sum()
    }

    /// Tiles side by side.
    pub(in crate::gpu) fn col_tiles(&self) -> u32 {
        self.grid.col_tiles as u32
    }

    /// The same weights, with results from element `first_row` of a token's on.
    pub fn at_row(mut self, first_row: usize) -> Self {
        self.parts.iter_mut().for_each(|part| part.params.first_row += first_row as u32);
        self
    }

    /// Sets in a kernel where the words are, and which matrices it reads.
    pub(in crate::gpu) fn apply_stored(&self, variant: Variant) -> Variant {
        let variant = self.apply_words(variant);
        match &self.joined {
            Some(joined) => Joined::apply(joined.join, joined.members.len() as u32, variant),
            None => variant,
        }
    }

    /// The parameters of a kernel for `part`, and the number of row blocks that its workgroups start with.
    pub(in crate::gpu) fn params_of(&self, part: &Part) -> (Vec<MatrixParams>, u32) {
        match &self.joined {
            Some(joined) => (joined.members.clone(), joined.row_blocks()),
            None => (vec![part.params], part.params.row_blocks()),
        }
    }
}
