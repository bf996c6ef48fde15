//! Formats of dense tiles that together use every line of the reader.

use super::format::{DenseFormat, Table};
use crate::codec::split::Split;
use crate::codec::{Kept, Precision};
use crate::gpu::Target;
use crate::tensor::Dtype;

/// The formats of products, with their table bound for this kind of device.
pub(in crate::gpu::weights::layouts) fn samples(target: Option<Target>) -> Vec<DenseFormat> {
    lossless().chain(scaled()).map(|dense| dense.bound(target)).collect()
}

/// A rounded tensor's format, for each type that can be rounded.
pub(in crate::gpu) fn scaled() -> impl Iterator<Item = DenseFormat> {
    let types = [(Dtype::BF16, 4), (Dtype::F16, 5), (Dtype::F32, 1)];
    types.into_iter().filter_map(|(dtype, clean)| {
        let split = Split::new(Dtype::BF16, 1, 0, clean)?;
        let planes = split.planes().iter().filter(|plane| !plane.is_sparse()).count();
        let kept = Kept { planes, mantissa_bits: None, middle: false };
        let (row_shifts, ragged) = (dtype == Dtype::F16, dtype != Dtype::F32);
        let table = if ragged { Table::Uniform(11) } else { Table::Workgroup };
        Some(DenseFormat { split, escape: true, kept, row_shifts, ragged, table, scaled: Some(dtype) })
    })
}

/// A selection of formats that products read: every type, with and without low bits, sparse planes, escapes
/// and shifts. All kernels decode units in the same way.
fn lossless() -> impl Iterator<Item = DenseFormat> {
    let bf16 = [(0, false, false), (1, false, false), (2, false, false), (2, true, true)];
    let bf16 = bf16.map(|(t, escape, shifts)| (Dtype::BF16, (t, 0, 0), escape, shifts));
    let f16 = [((2, 0, 0), false, true), ((1, 2, 3), true, false)].map(|(s, e, r)| (Dtype::F16, s, e, r));
    let f32 = [((1, 0, 0), false, false), ((2, 0, 13), true, true)].map(|(s, e, r)| (Dtype::F32, s, e, r));
    bf16.into_iter().chain(f16).chain(f32).filter_map(|(dtype, (t, b, clean), escape, row_shifts)| {
        let split = Split::new(dtype, t, b, clean)?;
        let ragged = row_shifts;
        let table = match (row_shifts, t) {
            (true, _) => Table::Uniform(11),
            (false, 0) => Table::Storage,
            (false, _) => Table::Workgroup,
        };
        // Some with fewer planes.
        let precision = if escape { Precision::Mantissa(3) } else { Precision::Lossless };
        let kept = precision.kept(&split);
        Some(DenseFormat { split, escape, kept, row_shifts, ragged, table, scaled: None })
    })
}
