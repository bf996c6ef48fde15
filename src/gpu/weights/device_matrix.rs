//! A weight matrix in device memory, raw or compressed, in parts that fit a binding each.

use super::joined::Joined;
use super::layouts::Format;
use super::matrix_params::{self, MatrixParams, WIDE_CHUNK};
use super::words::Words;
use crate::codec::grid::Grid;
use crate::gpu::{Buffer, Variant};
use crate::tensor::Matrix;

/// The rows of a matrix that one buffer holds.
#[derive(Debug)]
pub struct Part {
    /// The words that the shaders read.
    pub payload: Words,
    /// The exceptions of the fast layout.
    pub exceptions: Option<Buffer>,
    /// The streamed stage in whose slot it is, if it does not stay on the device.
    pub stage: Option<usize>,
    pub(in crate::gpu) params: MatrixParams,
}

/// A weight matrix on a device, or some of its rows.
#[derive(Debug)]
pub struct DeviceMatrix {
    /// How it is stored.
    pub format: Format,
    /// Its size, or that of the rows that are there.
    pub matrix: Matrix,
    /// Its rows, in order.
    pub parts: Vec<Part>,
    /// The table that windows of the streams are looked up in, for dense tiles.
    pub codes: Option<Buffer>,
    /// What it is joined of, where it is several matrices: they are in one part then.
    pub joined: Option<Joined>,
    pub(in crate::gpu) grid: Grid,
}

impl DeviceMatrix {
    /// Bytes in device memory, without those of a slot that it is brought to.
    pub fn bytes(&self) -> u64 {
        let part = |part: &Part| part.payload.own_bytes() + part.exceptions.as_ref().map_or(0, Buffer::size);
        self.parts.iter().map(part).sum::<u64>() + self.codes.as_ref().map_or(0, Buffer::size)
    }

    /// Columns, rounded up to whole chunks of any layout: what a row of activations must be padded to.
    pub fn padded_cols(&self) -> usize {
        self.grid.matrix.cols.next_multiple_of(WIDE_CHUNK)
    }

    /// Tells a kernel where the words are: in all parts alike.
    pub(in crate::gpu) fn apply_words(&self, variant: Variant) -> Variant {
        match self.parts.first() {
            Some(part) => part.payload.apply(variant),
            None => variant,
        }
    }

    /// What is bound beside a part's words.
    pub(in crate::gpu) fn table<'a>(&'a self, part: &'a Part) -> Option<&'a Buffer> {
        part.exceptions.as_ref().or(self.codes.as_ref())
    }

    /// Columns whose products are summed before others are added: the same however the weights are stored.
    pub fn span_cols(&self) -> usize {
        matrix_params::span_cols(self.matrix)
    }

    /// Spans that can be read apart from each other: one where tiles reach across them.
    pub(in crate::gpu) fn splits(&self) -> u32 {
        let reach_across = !self.span_cols().is_multiple_of(self.grid.tile_cols.max(1));
        match self.format.layout().is_tiled() && reach_across {
            true => 1,
            false => self.matrix.cols.div_ceil(self.span_cols()) as u32,
        }
    }

    /// Whether spans have parts of several tiles.
    pub(in crate::gpu) fn spans_have_pieces(&self) -> bool {
        self.format.layout().is_tiled() && self.span_cols() != self.grid.tile_cols
    }

    /// Row blocks of `part`, of all matrices that are joined there.
    pub(in crate::gpu) fn row_blocks_of(&self, part: &Part) -> u32 {
        self.params_of(part).0.iter().map(MatrixParams::row_blocks).sum()
    }

    /// Tiles side by side.
    pub(in crate::gpu) fn col_tiles(&self) -> u32 {
        self.grid.col_tiles as u32
    }

    /// The same weights, whose results begin with element `first_row` of a token's.
    pub fn at_row(mut self, first_row: usize) -> Self {
        self.parts.iter_mut().for_each(|part| part.params.first_row += first_row as u32);
        self
    }

    /// Tells a kernel where the words are, and which matrices it reads.
    pub(in crate::gpu) fn apply_stored(&self, variant: Variant) -> Variant {
        let variant = self.apply_words(variant);
        match &self.joined {
            Some(joined) => Joined::apply(joined.join, joined.members.len() as u32, variant),
            None => variant,
        }
    }

    /// What a kernel is told about `part`, and the row blocks that it begins with.
    pub(in crate::gpu) fn params_of(&self, part: &Part) -> (Vec<MatrixParams>, u32) {
        match &self.joined {
            Some(joined) => (joined.members.clone(), joined.row_blocks()),
            None => (vec![part.params], part.params.row_blocks()),
        }
    }
}
