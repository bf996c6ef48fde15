//! Rows of the embedding to tokens.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Buffer, Dispatch, Gpu, GpuError, Variant, Workgroups};

/// Rows of the embedding: `Rows` of `shaders/shared/table_rows.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TableRows {
    /// The first one.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Elements of each.
    pub columns: u32,
    /// Elements from one token to the next.
    pub stride: u32,
}

/// The kernel.
pub fn variant() -> Variant {
    Variant::new("embed_rows")
}

/// Looks up those of `tokens` tokens whose rows are there.
pub fn dispatch(
    gpu: &Gpu,
    params: &TableRows,
    tokens: usize,
    [ids, table, x]: [&Buffer; 3],
) -> Result<Dispatch, GpuError> {
    let buffers = [(2, ids), (3, table), (4, x)];
    gpu.kernel(variant())?.bind(gpu, params, &buffers, [tokens as u32, 1].map(Workgroups::Fixed))
}

/// The twin, for the whole table.
pub fn cpu(params: &TableRows, ids: &[u32], table: &[f64]) -> Vec<f64> {
    let (columns, stride) = (params.columns as usize, params.stride as usize);
    let mut x = vec![0.0; ids.len() * stride];
    for (x, &id) in x.chunks_mut(stride).zip(ids) {
        x[..columns].copy_from_slice(&table[id as usize * columns..][..columns]);
    }
    x
}
