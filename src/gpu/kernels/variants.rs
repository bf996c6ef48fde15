//! Lists of kernel variants, for tests and tools that compile all of them.

use bytemuck::Zeroable;

use super::attention::{self, Division};
use super::{
    argmax, decode, embed, matmul, matvec, norm, rope, top, training, transcode, transcode_tiered, widen,
};
use crate::codec::Precision;
use crate::codec::split::Split;
use crate::gpu::device::texture::{texture_variant, written_texture_variant};
use crate::gpu::weights::layouts::{DenseFormat, FastFormat, Format, Table, TieredFormat, dense};
use crate::gpu::weights::{Join, Joined};
use crate::gpu::{CacheType, Candidates, Choice, Invocations, Sharing, Target, Texel, Variant};
use crate::tensor::Dtype;

/// Tokens of a batch, and columns of their activations if these are a uniform.
const TOKENS: u32 = 16;
const UNIFORM_COLS: u32 = 576;

/// Variants of every kernel that together contain every line of every shader, for every way of decoding
/// weights.
pub fn variants() -> Vec<Variant> {
    Offer(None).variants()
}

/// The same for all variants that this kind of device may use, timed or not. It compiles no others unless the
/// caller sets them.
pub fn offered(target: Target) -> Vec<Variant> {
    Offer(Some(target)).variants()
}

/// Only the variants offered to a kind of device, or all.
#[derive(Debug, Clone, Copy)]
struct Offer(Option<Target>);

impl Offer {
    fn variants(self) -> Vec<Variant> {
        let mut all = vec![argmax::variant(), top::variant(), Variant::new("swiglu")];
        all.extend(self.attention());
        all.extend([false, true].map(norm::variant));
        for cache_type in [CacheType::F32, CacheType::F16] {
            all.extend([false, true].map(|head_norm| rope::variant(head_norm, cache_type)));
        }
        all.extend(training::variants(self.has_textures()));
        all.extend(self.decoding());
        all.extend(self.transcoding());
        for format in Format::samples(self.0) {
            let texel = format.layout().texel();
            all.extend(self.either(embed::variant(format), texel));
            all.extend(self.products(format, texel));
        }
        all
    }

    /// Products with weights in `format`, with all numbers of invocations and all ways of adding to the
    /// result.
    fn products(self, format: Format, texel: Texel) -> Vec<Variant> {
        let (for_matvec, for_matmul) = match self.0.map(Candidates::of) {
            Some(candidates) => (candidates.for_matvec(format), candidates.for_matmul(format)),
            None => (&Invocations::ALL[..], &Invocations::ALL[..]),
        };
        let additions = [(false, false), (false, true), (true, false), (true, true)];
        let count = additions.len().max(for_matvec.len()).max(for_matmul.len());
        let both = for_matvec.iter().cycle().zip(for_matmul.iter().cycle()).take(count);
        let mut all = Vec::new();
        for (i, ((&one, &batch), (bias, accumulate))) in both.zip(additions.into_iter().cycle()).enumerate() {
            let is_tiled = format.layout().is_tiled();
            let matvec = matvec::variant(format, self.sharing(one, i), bias, accumulate);
            let matmul = matmul::with_tokens(matmul::variant(format, batch, bias, accumulate), TOKENS);
            let mut products = Vec::new();
            if !accumulate {
                // Include joined matrices.
                let (join, members) = if bias { (Join::Stacked, 3) } else { (Join::Gated, 2) };
                let joined = |variant: &Variant| Joined::apply(join, members, variant.clone());
                products.extend([(joined(&matvec), 1), (joined(&matmul), TOKENS)]);
            }
            let matvec = matvec.choose_if(accumulate && is_tiled, Choice::Pieces);
            products.extend([(matvec, 1), (matmul, TOKENS)]);
            for (variant, tokens) in products {
                if self.has_uniform_activations(one) && (tokens == 1 || !is_tiled) {
                    let uniform = matvec::with_uniform_x(variant.clone(), tokens, UNIFORM_COLS);
                    all.extend(self.either(uniform, texel));
                }
                all.extend(self.either(variant, texel));
            }
            if format.layout().is_compressed() {
                let widen = widen::variant(format, batch);
                let joined = Joined::apply(Join::Stacked, 2, widen.clone());
                all.extend(self.either(widen, texel));
                all.push(if self.has_textures() { texture_variant(joined, texel) } else { joined });
            }
        }
        all
    }

    /// One of the ways in which workgroups of so many invocations may share row blocks.
    fn sharing(self, invocations: Invocations, i: usize) -> Sharing {
        let target = self.0.unwrap_or(Target::Gpu);
        // Row blocks in four strips, in one, in two, and in four again.
        let row_blocks = [64, 1024, 128, 1][i % 4];
        Sharing::for_shape(target, invocations, row_blocks, 16)
    }

    /// Every split and every escape.
    fn decoding(self) -> Vec<Variant> {
        let formats = splits().flat_map(|split| {
            [false, true].map(|escape| DenseFormat {
                split,
                escape,
                kept: Precision::Lossless.kept(&split),
                // Shifts and escapes affect different lines.
                row_shifts: escape,
                ragged: false,
                table: if escape { Table::Workgroup } else { Table::Storage },
                scaled: None,
            })
        });
        let mut all: Vec<_> = formats.map(|dense| decode::variant(dense.bound(self.0))).collect();
        all.extend(
            dense::scaled().flat_map(|dense| self.either(decode::variant(dense.bound(self.0)), dense::TEXEL)),
        );
        all
    }

    /// The kernels that convert dense tiles to other layouts.
    fn transcoding(self) -> Vec<Variant> {
        let bf16 = (0..3).filter_map(|t| Split::new(Dtype::BF16, t, 0, 0));
        let mut all = Vec::new();
        let tables = [Table::Storage, Table::Workgroup, Table::Uniform(11)];
        for (split, table) in bf16.zip(tables) {
            let dense = DenseFormat {
                split,
                escape: split.top_bits > 0,
                kept: Precision::Lossless.kept(&split),
                row_shifts: split.top_bits > 0,
                ragged: split.top_bits > 1,
                table,
                scaled: None,
            }
            .bound(self.0);
            let transcode = [false, true].into_iter().flat_map(|zeros| {
                let to_fast = transcode::variant(dense, FastFormat { zeros });
                [to_fast, transcode_tiered::variant(dense, TieredFormat { zeros })]
            });
            for variant in transcode {
                if self.has_textures() {
                    all.push(texture_variant(written_texture_variant(variant.clone()), dense::TEXEL));
                }
                all.push(variant);
            }
            let measure = [transcode::measure_variant(dense), transcode_tiered::measure_variant(dense)];
            all.extend(measure.into_iter().flat_map(|variant| self.either(variant, dense::TEXEL)));
        }
        all
    }

    /// The smallest and largest heads, shared and not, divided in each way.
    fn attention(self) -> Vec<Variant> {
        let mut divisions = vec![
            (Division::WIDE, CacheType::F32),
            (Division::WIDE_F16, CacheType::F16),
            (Division::ON_CPU, CacheType::F32),
            (Division::ON_CPU, CacheType::F16),
        ];
        if let Some(target) = self.0 {
            divisions.retain(|&(division, cache_type)| division == Division::of(target, cache_type));
        }
        let heads = [(1, 4), (1, 256), (3, 64), (4, 80), (7, 128), (4, 256)];
        let of = |(heads, head_dim)| {
            let params = rope::HeadParams { heads, kv_heads: 1, head_dim, ..rope::HeadParams::zeroed() };
            let variant =
                move |&(division, cache_type): &_| attention::variant(&params, division, cache_type);
            divisions.iter().map(variant).collect::<Vec<_>>()
        };
        heads.into_iter().flat_map(of).collect()
    }

    /// `variant` for weights in a texture, if the target uses them, and in a buffer.
    fn either(self, variant: Variant, texel: Texel) -> Vec<Variant> {
        match self.has_textures() {
            true => vec![texture_variant(variant.clone(), texel), variant],
            false => vec![variant],
        }
    }

    fn has_textures(self) -> bool {
        matches!(self.0, None | Some(Target::Llvmpipe))
    }

    fn has_uniform_activations(self, invocations: Invocations) -> bool {
        self.has_textures() && invocations.rows_each() > 1
    }
}

/// Every split; one type represents all types with equal splits.
fn splits() -> impl Iterator<Item = Split> {
    let types = [Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::U8];
    let bits = (0..4).flat_map(|t| (0..5).flat_map(move |b| (0..=16).map(move |clean| (t, b, clean))));
    bits.flat_map(move |(t, b, clean)| types.map(|dtype| Split::new(dtype, t, b, clean))).flatten()
}
