//! Decoding a part of a payload to elements, rounded or not.

use super::part::{Part, TiledPayload};
use super::tiles::DecodeTiles;
use crate::codec::payload::error::CodecError;
use crate::codec::payload::grid::LANES;
use crate::codec::payload::quotient::multiply;
use crate::codec::payload::scaled::Scaled;
use crate::codec::simd;

/// Writes the elements of `part` to `out`, in which the first bytes of consecutive lanes are `stride` apart.
pub(crate) fn decode_part(
    from: TiledPayload<'_>,
    part: Part,
    stride: usize,
    out: &mut [u8],
) -> Result<(), CodecError> {
    match &from.tiled.scaled {
        None => decode_units(from, part, stride, out),
        Some(scaled) => decode_rounded(from, scaled, part, stride, out),
    }
}

/// Like [`decode_part`], for the units in the tiles: elements, their bytes, or quotients.
fn decode_units(from: TiledPayload<'_>, part: Part, stride: usize, out: &mut [u8]) -> Result<(), CodecError> {
    simd::run(DecodeTiles { from, part, stride, out })
}

/// Like [`decode_part`], for quotients, which are multiplied by their scales. It decodes a tile at a time, so
/// that the memory for quotients does not grow with the matrix.
fn decode_rounded(
    from: TiledPayload<'_>,
    scaled: &Scaled,
    part: Part,
    stride: usize,
    out: &mut [u8],
) -> Result<(), CodecError> {
    let Part { row_block, lanes, col_tiles } = part;
    let (grid, width) = (&from.tiled.grid, scaled.element_bytes());
    let mut quotients = vec![0; 2 * lanes.len() * grid.tile_cols.min(grid.padded_cols)];
    for col_tile in col_tiles.clone() {
        let cols = grid.cols_in(col_tile);
        let quotients = &mut quotients[..2 * lanes.len() * cols];
        let tile = Part { row_block, lanes: lanes.clone(), col_tiles: col_tile..col_tile + 1 };
        decode_units(from, tile, 2 * cols, quotients)?;
        let first = width * (col_tile - col_tiles.start) * grid.tile_cols;
        for (i, (lane, quotients)) in lanes.clone().zip(quotients.chunks_exact(2 * cols)).enumerate() {
            let scale = scaled.scale(grid, row_block * LANES + lane, col_tile);
            multiply(scaled.dtype, quotients, scale, &mut out[i * stride + first..][..width * cols]);
        }
    }
    Ok(())
}
