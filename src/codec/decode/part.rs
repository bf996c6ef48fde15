//! A part of a tiled payload, which is decoded in one step.

use std::ops::Range;

use super::readers::Readers;
use crate::codec::payload::tiled::Tiled;

/// A tiled payload, and the tables for reading its streams.
#[derive(Clone, Copy)]
pub(crate) struct TiledPayload<'a> {
    /// The whole payload.
    pub bytes: &'a [u8],
    pub tiled: &'a Tiled,
    pub readers: &'a Readers,
}

/// Some lanes of some tiles of a row block.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub row_block: usize,
    pub lanes: Range<usize>,
    /// Tiles, by their index in the row block.
    pub col_tiles: Range<usize>,
}
