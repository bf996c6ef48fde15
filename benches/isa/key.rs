//! The variants whose figures are kept: those that a BF16 model like SmolLM2 computes with.

use bantam::codec::Precision;
use bantam::codec::split::Split;
use bantam::gpu::kernels::attention::{self, Division};
use bantam::gpu::kernels::rope::HeadParams;
use bantam::gpu::kernels::{decode, embed, matmul, matvec, transcode, transcode_tiered, widen};
use bantam::gpu::weights::layouts::{DenseFormat, FastFormat, Format, RawFormat, Table, TieredFormat};
use bantam::gpu::{CacheType, Invocations, Sharing, Target, Variant};
use bantam::tensor::Dtype;
use bytemuck::Zeroable;

/// Tokens of a batch.
const TOKENS: u32 = 16;

pub fn variants() -> Vec<Variant> {
    let mut all = one_token();
    let dense_tiles = Format::Dense(dense(2, true, false));
    let main = [Format::Raw(RawFormat::Bf16), fast(false), tiered(false), dense_tiles];
    // Of very many rows, and of 4096.
    for row_blocks in [1024, 64] {
        let sharing = Sharing::for_shape(Target::Gpu, Invocations::FOUR_A_ROW, row_blocks, 16);
        all.extend(main.map(|format| matvec::variant(format, sharing, false, false)));
    }
    all.extend(main.map(batch));
    all.extend(main[1..].iter().map(|&format| widen::variant(format, Invocations::ONE_ROW_EACH)));
    all.extend(main.map(embed::variant));
    let dense = dense(2, true, true);
    all.push(transcode::variant(dense, FastFormat { zeros: false }));
    all.push(transcode::measure_variant(dense));
    all.push(transcode_tiered::variant(dense, TieredFormat { zeros: false }));
    all.push(transcode_tiered::measure_variant(dense));
    all.push(decode::variant(dense));
    all.extend([CacheType::F32, CacheType::F16].map(attention_of));
    all
}

/// Products with one token, of weights in every form.
fn one_token() -> Vec<Variant> {
    let mut formats =
        vec![Format::Raw(RawFormat::Bf16), fast(false), fast(true), tiered(false), tiered(true)];
    formats.extend([0, 1].map(|t| Format::Dense(dense(t, false, false))));
    for shifts in [false, true] {
        formats.extend([false, true].map(|escape| Format::Dense(dense(2, escape, shifts))));
    }
    let of = |format| matvec::variant(format, Sharing::alone(Invocations::ONE_ROW_EACH), false, false);
    formats.into_iter().map(of).collect()
}

fn batch(format: Format) -> Variant {
    matmul::with_tokens(matmul::variant(format, Invocations::ONE_ROW_EACH, false, false), TOKENS)
}

/// Three query heads for each head of keys and values.
fn attention_of(cache_type: CacheType) -> Variant {
    let params = HeadParams { heads: 3, kv_heads: 1, head_dim: 64, ..HeadParams::zeroed() };
    attention::variant(&params, Division::of(Target::Gpu, cache_type), cache_type)
}

fn fast(zeros: bool) -> Format {
    Format::Fast(FastFormat { zeros })
}

fn tiered(zeros: bool) -> Format {
    Format::Tiered(TieredFormat { zeros })
}

/// Dense tiles of BF16 with so many bits of the mantissa coded.
fn dense(top_bits: u8, escape: bool, row_shifts: bool) -> DenseFormat {
    let split = Split::new(Dtype::BF16, top_bits, 0, 0).expect("a split that there is");
    let kept = Precision::Lossless.kept(&split);
    DenseFormat { split, escape, kept, row_shifts, ragged: false, table: Table::Workgroup, scaled: None }
}
