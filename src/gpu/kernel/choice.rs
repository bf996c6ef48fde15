//! The choices that distinguish variants of a kernel, apart from the weights' layout. One table defines their
//! names in labels, and their flags and constants in the WGSL. `gpu/weights/layouts` adds those of a layout.

use crate::codec::grid::LANES;

/// One choice of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gpu) enum Choice {
    /// Rows of a row block that an invocation reads side by side.
    Rows(u32),
    /// Invocations that share a row.
    Splits(u32),
    /// Strips of a row block, each of which a workgroup multiplies.
    Strips(u32),
    /// Tokens that a workgroup multiplies.
    Tokens(u32),
    /// Activations are a uniform with this many vectors of four elements.
    UniformX(u32),
    /// A bias is added.
    Bias,
    /// The product is added to the result.
    Accumulate,
    /// Spans contain parts of several tiles.
    Pieces,
    /// Number of joined matrices.
    Joined(u32),
    /// Of two joined matrices, the first gates the second.
    Gated,
    /// The input is in a texture; the number is log2 of the texels in its rows.
    Texture(u32),
    /// The output is in a texture; the number is log2 of the texels in its rows.
    ToTexture(u32),
    /// In the fast layout to be written, code 0 stands for the exponent 0.
    Zeros,
    /// The elements of the KV cache are F16.
    F16Cache,
    /// Query and key heads are normalised first.
    HeadNorm,
    /// Only tokens that need logits.
    Output,
    /// Rotations go the other way, as gradients do.
    Back,
    /// What is added up is multiplied by a norm's input and its scales.
    Norm,
    /// What is measured or transcoded is uncompressed.
    Wide,
    /// Elements of the first factor that are next to each other follow the depth; those of the second factor.
    AlongA,
    AlongB,
    /// The optimizer has moments.
    Moments,
    /// Moments are BF16.
    MomentsBf16,
    /// Elements are multiplied by factors of their rows and columns.
    Factored,
    /// Weights are rounded up or down at random.
    Stochastic,
    /// Weights are not rounded.
    Unrounded,
    /// Query heads per workgroup, and elements per head.
    Heads(u32, u32),
    /// Invocations of attention, keys per invocation, and invocations side by side that gather a value.
    Division(u32, u32, u32),
}

/// The consequences of a choice.
pub(super) struct Meaning {
    /// Its name in labels; `None` for the usual choice.
    pub name: Option<String>,
    /// Flags that `#ifdef` tests.
    pub flags: &'static [&'static str],
    /// Constants, in the order they are declared.
    pub constants: Vec<(&'static str, u32)>,
}

impl Choice {
    /// The table of choices.
    pub(super) fn meaning(self) -> Meaning {
        let flag = |name: &str, flags| Meaning { name: Some(name.into()), flags, constants: Vec::new() };
        let count = |name: &str, value: u32, usual: u32, flags, constants| {
            let name = (value != usual).then(|| format!("{name}={value}"));
            Meaning { name, flags, constants }
        };
        match self {
            Self::Rows(n) => {
                let flags: &[_] = if n > 1 { &["SEVERAL_ROWS"] } else { &[] };
                count("rows", n, 1, flags, vec![("ROWS", n), ("LANES", LANES as u32 / n)])
            }
            Self::Splits(n) => {
                let flags: &[_] = if n > 1 { &["SPLIT"] } else { &[] };
                count("splits", n, 1, flags, vec![("SPLITS", n)])
            }
            Self::Strips(n) => count("strips", n, 1, &[], vec![("STRIPS", n)]),
            Self::Tokens(n) => count("tokens", n, 0, &[], vec![("TOKENS", n)]),
            Self::UniformX(n) => count("uniform_x", n, 0, &["X_UNIFORM"], vec![("X_VECTORS", n)]),
            Self::Bias => flag("bias", &["BIAS"]),
            Self::Accumulate => flag("accumulate", &["ACCUMULATE"]),
            Self::Pieces => flag("pieces", &["PIECES"]),
            Self::Joined(n) => count("joined", n, 0, &["JOINED"], vec![("MEMBERS", n)]),
            Self::Gated => flag("gated", &["GATED"]),
            Self::Texture(bits) => count("texture", bits, 0, &["TEXTURE"], vec![("ROW_BITS", bits)]),
            Self::ToTexture(bits) => {
                count("to_texture", bits, 0, &["TO_TEXTURE"], vec![("TO_ROW_BITS", bits)])
            }
            Self::Zeros => flag("zeros", &["ZEROS"]),
            Self::F16Cache => flag("f16_cache", &["F16_CACHE"]),
            Self::HeadNorm => flag("head_norm", &["HEAD_NORM"]),
            Self::Back => flag("back", &["BACK"]),
            Self::Norm => flag("norm", &["NORM"]),
            Self::Wide => flag("wide", &["WIDE"]),
            Self::AlongA => flag("a_along", &["A_ALONG"]),
            Self::AlongB => flag("b_along", &["B_ALONG"]),
            Self::Moments => flag("moments", &["MOMENTS"]),
            Self::MomentsBf16 => flag("moments.bf16", &["MOMENTS", "MOMENTS_BF16"]),
            Self::Factored => flag("factored", &["FACTORED"]),
            Self::Unrounded => flag("unrounded", &["UNROUNDED"]),
            Self::Stochastic => flag("stochastic", &["STOCHASTIC"]),
            Self::Output => flag("output", &["OUTPUT"]),
            Self::Heads(heads, dim) => Meaning {
                name: Some(format!("heads={heads}x{dim}")),
                flags: &[],
                constants: vec![("HEADS", heads), ("DIM", dim)],
            },
            Self::Division(lanes, keys, element_lanes) => Meaning {
                name: Some(format!("lanes={lanes}/{element_lanes} keys={keys}")),
                // Two levels of sixteen invocations each.
                flags: if lanes == 256 { &["TWO_LEVELS"] } else { &[] },
                constants: vec![("LANES", lanes), ("KEYS", keys), ("ELEMENT_LANES", element_lanes)],
            },
        }
    }
}
