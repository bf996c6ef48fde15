//! Formats of dense tiles that together use every line of the reader.

use super::format::{DenseFormat, Escape, Table};
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
        let table = if ragged { Table::Uniform(11) } else { Table::Storage };
        Some(DenseFormat {
            split,
            escape: Escape::Short,
            kept,
            row_shifts,
            ragged,
            table,
            scaled: Some(dtype),
        })
    })
}

/// A selection of formats that products read: every type, with and without low bits, sparse planes, escapes
/// and shifts. All kernels decode units in the same way.
fn lossless() -> impl Iterator<Item = DenseFormat> {
    use Escape::*;
    let bf16 = [(0, None, false), (1, None, false), (2, None, false), (2, Short, true)];
    let bf16 = bf16.map(|(t, escape, shifts)| (Dtype::BF16, (t, 0, 0), escape, shifts));
    let f16 = [((2, 0, 0), None, true), ((1, 2, 3), Long, false)].map(|(s, e, r)| (Dtype::F16, s, e, r));
    let f32 = [((1, 0, 0), None, false), ((2, 0, 13), Short, true)].map(|(s, e, r)| (Dtype::F32, s, e, r));
    bf16.into_iter().chain(f16).chain(f32).filter_map(|(dtype, (t, b, clean), escape, row_shifts)| {
        let split = Split::new(dtype, t, b, clean)?;
        let ragged = row_shifts;
        let table = if row_shifts { Table::Uniform(11) } else { Table::Storage };
        // Some with fewer planes.
        let precision = if escape == None { Precision::Lossless } else { Precision::Mantissa(3) };
        let kept = precision.kept(&split);
        Some(DenseFormat { split, escape, kept, row_shifts, ragged, table, scaled: Option::None })
    })
}
