//! What is known of a variant before it is compiled: how weights of its loop are told, and what they take in memory.

use bantam::gpu::Variant;

use super::reading::cost::Mark;

/// Bits a weight in the fast and the tiered layout, and of BF16 in dense tiles: those of SmolLM2.
pub const FAST_BITS: f64 = 12.02;
pub const TIERED_BITS: f64 = 11.05;
pub const DENSE_BITS: f64 = 10.72;

fn constant(variant: &Variant, name: &str) -> Option<u32> {
    variant.constants.iter().find(|(constant, _)| constant == name).map(|&(_, value)| value)
}

/// Weights that an invocation takes at a time: a chunk of each of its rows.
pub fn chunk(variant: &Variant) -> Option<u32> {
    Some(8 * constant(variant, "EIGHTS")? * constant(variant, "ROWS")?)
}

/// How the loop over weights is known.
pub fn mark(variant: &Variant) -> Option<Mark> {
    let stores = |bits| Mark::Stores { bits, rounds: 1 };
    match variant.kernel {
        "matvec" => Some(Mark::Products(1)),
        "matmul" => constant(variant, "TOKENS").map(Mark::Products),
        "widen" => constant(variant, "WIDE_BITS").map(stores),
        "decode" => constant(variant, "UNIT_BITS").map(stores),
        "embed" => Some(stores(32)),
        // Chunks of dense tiles are half as long as those of the fast layout.
        "transcode" => Some(Mark::Stores { bits: 12, rounds: 2 }),
        _ => None,
    }
}

/// Bits that a weight takes where a product with one token reads it; `None` where that depends on more than how it is
/// stored.
pub fn bits(variant: &Variant) -> Option<f64> {
    let storage = variant.choices.first().filter(|_| variant.kernel == "matvec")?;
    match storage.as_str() {
        "bf16" | "f16" => Some(16.0),
        "f32" => Some(32.0),
        "fast" | "fast.zeros" => Some(FAST_BITS),
        "tiered" | "tiered.zeros" => Some(TIERED_BITS),
        dense => is_whole_bf16(dense).then_some(DENSE_BITS),
    }
}

/// Whether this is BF16 in dense tiles of which all bits are read.
fn is_whole_bf16(storage: &str) -> bool {
    let Some(rest) = storage.strip_prefix("dense:bf16") else { return false };
    let is_usual = |part: &str| ["", "t1", "t2", "escape", "shifts", "workgroup", "ragged"].contains(&part);
    rest.split('.').all(is_usual)
}
