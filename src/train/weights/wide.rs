//! Uncompressed rows of BF16 as the device has them.

use crate::codec::grid::LANES;
use crate::gpu::weights::layouts::raw;
use crate::tensor::Dtype;

/// Bytes of so many rows, uncompressed, as the device has them.
pub(crate) fn wide_bytes(rows: usize, cols: usize) -> u64 {
    (rows.div_ceil(LANES) * raw::row_block_bytes(Dtype::BF16, cols)) as u64
}

/// Rows as the device has them uncompressed, row block by row block.
pub(super) fn laid_out(bits: &[u16], cols: usize) -> Vec<u8> {
    let each = raw::row_block_bytes(Dtype::BF16, cols);
    let mut all = vec![0; wide_bytes(bits.len() / cols.max(1), cols) as usize];
    for (rows, block) in bits.chunks(LANES * cols).zip(all.chunks_mut(each)) {
        let bytes: Vec<u8> = rows.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        raw::interleave(&bytes, Dtype::BF16, cols, |at, run| block[at..][..run.len()].copy_from_slice(run));
    }
    all
}
