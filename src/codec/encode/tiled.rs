//! Encoding a matrix in tiles.

use super::coder::Coder;
use super::error::EncodeError;
use super::put::{EncodedPayload, Put, put_head};
use super::spare::Spare;
use super::tensor::Tensor;
use crate::codec::plan::choosing::Plan;
use crate::codec::plan::source_rows::SourceRows;
use crate::tensor::Matrix;

/// Encodes a tiled payload. `None` if it would not be shorter than `limit`, or if the coded plane is too long
/// for the tile table's 32-bit word offsets.
pub(crate) fn encode_tiled(
    spare: &Spare,
    code: u8,
    matrix: Matrix,
    plan: Plan,
    source: &SourceRows,
    limit: usize,
    put: &Put<'_>,
) -> Result<Option<EncodedPayload>, EncodeError> {
    let tensor = Tensor { spare, code, source, coder: Coder::new(matrix, &plan, source) };
    // This can happen to a matrix of one row, because its planes have the size of 64 rows.
    if tensor.plane_ends(0).last().is_some_and(|&end| end >= limit) {
        return Ok(None);
    }
    let head_len = tensor.head_len(&plan);
    let mut kept = Vec::new();
    let Some(coded) = tensor.put_coded(head_len, &mut kept, put)? else { return Ok(None) };
    let plane_ends = tensor.plane_ends(coded.end);
    let payload_len = plane_ends.last().copied().unwrap_or(coded.end);
    if payload_len >= limit {
        return Ok(None);
    }
    let mut sums = coded.sums;
    sums.extend(tensor.put_planes(coded.end, &plane_ends, kept, put)?);
    let mut writer = tensor.head(&plan);
    writer.masks(&tensor.coder.masks);
    if let Some(rounding) = source.rounding() {
        writer.scales(&rounding.scaled.scales);
    }
    writer.tiles(&coded.tiles);
    put_head(writer, &sums, payload_len, put).map(Some)
}
