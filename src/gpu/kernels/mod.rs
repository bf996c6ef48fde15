//! One file a kernel: what it is given, how it is dispatched, and a twin on the CPU that says in
//! plain Rust what `shaders/<same name>.wgsl` computes.
//!
//! Twins of kernels that compute with floats agree with them to rounding: whether a device fuses a
//! multiplication with an addition is its own affair.

pub mod argmax;
pub mod attention;
pub mod decode;
pub mod embed;
pub mod matmul;
pub mod matvec;
pub mod norm;
pub mod rope;
pub mod swiglu;
pub mod top;
pub mod transcode;
pub mod widen;

use bytemuck::{Pod, Zeroable};

use self::attention::Division;
use super::format::{DenseFormat, Escape, FastFormat, Format, Table};
use super::invocations::Invocations;
use super::join::{Join, Joined};
use super::words::{Texel, texture_variant, written_texture_variant};
use super::{CacheType, Variant};
use crate::codec::split::Split;
use crate::codec::{Kept, Precision};
use crate::tensor::Dtype;

/// `Step` of `shaders/shared/step.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// Tokens in this batch.
    pub tokens: u32,
    /// Position of the first.
    pub position: u32,
    /// First token of the batch whose logits are wanted.
    pub first_output: u32,
    /// Which rank of the last token's logits bounds those that [`top`] finds.
    pub rank: u32,
}

/// Variants of every kernel that between them have every line of every shader, in every way that
/// weights can be taken apart.
pub fn variants() -> Vec<Variant> {
    let mut all = vec![argmax::variant(), top::variant(), Variant::new("swiglu")];
    all.extend(attention_variants());
    all.extend([false, true].map(norm::variant));
    for cache_type in [CacheType::F32, CacheType::F16] {
        all.extend([false, true].map(|head_norm| rope::variant(head_norm, cache_type)));
    }
    for split in splits() {
        for escape in [Escape::None, Escape::Short, Escape::Long] {
            // Shifts and escapes change a few lines of their own each.
            let row_shifts = escape == Escape::Long;
            all.push(decode::variant(DenseFormat {
                split,
                escape,
                kept: Precision::Lossless.kept(&split),
                row_shifts,
                ragged: false,
                table: Table::Storage,
                scaled: None,
            }));
        }
    }
    let bf16 = (0..3).filter_map(|t| Split::new(Dtype::BF16, t, 0, 0));
    for (split, escape) in bf16.zip([Escape::None, Escape::Short, Escape::Long]) {
        let (row_shifts, ragged) = (split.top_bits > 0, split.top_bits > 1);
        let kept = Precision::Lossless.kept(&split);
        let table = Table::Uniform(11);
        let dense = DenseFormat { split, escape, kept, row_shifts, ragged, table, scaled: None };
        let measure = transcode::measure_variant(dense);
        let transcode = [false, true].map(|zeros| transcode::variant(dense, FastFormat { zeros }));
        for variant in transcode.into_iter().chain([measure]) {
            let written = if variant.kernel == "transcode" {
                written_texture_variant(variant.clone())
            } else {
                variant.clone()
            };
            all.extend([texture_variant(written, Texel::Word), variant]);
        }
    }
    all.extend(scaled_formats().map(decode::variant));
    all.extend(scaled_formats().map(|format| texture_variant(decode::variant(format), Texel::Word)));
    let fast = [false, true].map(|zeros| Format::Fast(FastFormat { zeros }));
    for format in Format::RAW
        .into_iter()
        .chain(fast)
        .chain(product_formats())
        .chain(scaled_formats().map(Format::Dense))
    {
        let texel = if matches!(format, Format::Dense(_)) { Texel::Word } else { Texel::Vector };
        let textured = |variant| texture_variant(variant, texel);
        all.extend([embed::variant(format), textured(embed::variant(format))]);
        // All numbers of invocations, and both ways to add to the result.
        let additions = [(false, false), (false, true), (true, false), (true, true)];
        for (invocations, (bias, accumulate)) in
            Invocations::ALL.into_iter().zip(additions.into_iter().cycle())
        {
            let pieces = accumulate && matches!(format, Format::Dense(_));
            let matvec = matvec::variant(format, invocations, bias, accumulate);
            let matvec = matvec.flag_if(pieces, matvec::PIECES);
            let matmul = matmul::with_tokens(matmul::variant(format, invocations, bias, accumulate), 16);
            all.extend([textured(matvec.clone()), textured(matmul.clone()), matvec, matmul]);
            if !accumulate {
                // Joined ones too.
                let join = if bias { Join::Stacked } else { Join::Gated };
                let members = if bias { 3 } else { 2 };
                let joined = |variant| Joined::apply(join, members, variant);
                let matvec = joined(matvec::variant(format, invocations, bias, accumulate));
                all.extend([textured(matvec.clone()), matvec]);
                let matmul = matmul::variant(format, invocations, bias, accumulate);
                all.push(joined(matmul::with_tokens(matmul, 16)));
            }
            if !Format::RAW.contains(&format) {
                let widen = widen::variant(format, invocations);
                let joined = Joined::apply(Join::Stacked, 2, widen.clone());
                all.extend([textured(widen.clone()), textured(joined), widen]);
            }
        }
    }
    all
}

/// The smallest and largest heads, shared and not, divided in each way.
fn attention_variants() -> impl Iterator<Item = Variant> {
    let heads = [(1, 4), (1, 256), (3, 64), (4, 80), (7, 128), (4, 256)];
    heads.into_iter().flat_map(|(heads, head_dim)| {
        let params = rope::HeadParams { heads, kv_heads: 1, head_dim, ..rope::HeadParams::zeroed() };
        [
            (Division::WIDE, CacheType::F32),
            (Division::WIDE_F16, CacheType::F16),
            (Division::ON_CPU, CacheType::F32),
            (Division::ON_CPU, CacheType::F16),
        ]
        .map(|(division, cache_type)| attention::variant(&params, division, cache_type))
    })
}

/// Every split there is, one type standing for those that are alike.
fn splits() -> impl Iterator<Item = Split> {
    let types = [Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::U8];
    let bits = (0..4).flat_map(|t| (0..5).flat_map(move |b| (0..=16).map(move |clean| (t, b, clean))));
    bits.flat_map(move |(t, b, clean)| types.map(|dtype| Split::new(dtype, t, b, clean))).flatten()
}

/// What was rounded, of each type that can be.
fn scaled_formats() -> impl Iterator<Item = DenseFormat> {
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

/// Some of what products read from dense tiles: every type, with and without low bits, sparse planes,
/// escapes and shifts. How the reader takes units apart is the same in all kernels.
fn product_formats() -> impl Iterator<Item = Format> {
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
        Some(Format::Dense(DenseFormat {
            split,
            escape,
            kept,
            row_shifts,
            ragged,
            table,
            scaled: Option::None,
        }))
    })
}
