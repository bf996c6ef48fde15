//! The files of `shaders/`.

macro_rules! sources {
    ($($name:literal => $path:literal),* $(,)?) => {
        /// Every file of `shaders/` by name.
        const SOURCES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../shaders/", $path)))),*];
    };
}

sources! {
    "argmax" => "argmax.wgsl",
    "attention" => "attention.wgsl",
    "decode" => "decode.wgsl",
    "embed" => "embed.wgsl",
    "matmul" => "matmul.wgsl",
    "matvec" => "matvec.wgsl",
    "measure" => "measure.wgsl",
    "measure_tiered" => "measure_tiered.wgsl",
    "norm" => "norm.wgsl",
    "rope" => "rope.wgsl",
    "swiglu" => "swiglu.wgsl",
    "top" => "top.wgsl",
    "transcode" => "transcode.wgsl",
    "transcode_tiered" => "transcode_tiered.wgsl",
    "widen" => "widen.wgsl",
    "adalomo_change" => "training/adalomo_change.wgsl",
    "adalomo_factors" => "training/adalomo_factors.wgsl",
    "adalomo_limit" => "training/adalomo_limit.wgsl",
    "adalomo_vector" => "training/adalomo_vector.wgsl",
    "add_bias" => "training/add_bias.wgsl",
    "attention_weights" => "training/attention_weights.wgsl",
    "attention_weights_back" => "training/attention_weights_back.wgsl",
    "column_sums" => "training/column_sums.wgsl",
    "embed_grad" => "training/embed_grad.wgsl",
    "embed_rows" => "training/embed_rows.wgsl",
    "gated" => "training/gated.wgsl",
    "gated_back" => "training/gated_back.wgsl",
    "head_norm" => "training/head_norm.wgsl",
    "head_norm_back" => "training/head_norm_back.wgsl",
    "logit_grad" => "training/logit_grad.wgsl",
    "logit_stats" => "training/logit_stats.wgsl",
    "multiply" => "training/multiply.wgsl",
    "norm_back" => "training/norm_back.wgsl",
    "order_exceptions" => "training/order_exceptions.wgsl",
    "place_fast" => "training/place_fast.wgsl",
    "place_tiered" => "training/place_tiered.wgsl",
    "rotate" => "training/rotate.wgsl",
    "scale" => "training/scale.wgsl",
    "square_columns" => "training/square_columns.wgsl",
    "square_rows" => "training/square_rows.wgsl",
    "unpack" => "training/unpack.wgsl",
    "update" => "training/update.wgsl",
    "update_vector" => "training/update_vector.wgsl",
    "shared/adalomo" => "shared/adalomo.wgsl",
    "shared/bf16" => "shared/bf16.wgsl",
    "shared/columns" => "shared/columns.wgsl",
    "shared/dense" => "shared/dense.wgsl",
    "shared/eights" => "shared/eights.wgsl",
    "shared/elements" => "shared/elements.wgsl",
    "shared/fast" => "shared/fast.wgsl",
    "shared/finite" => "shared/finite.wgsl",
    "shared/halves" => "shared/halves.wgsl",
    "shared/heads" => "shared/heads.wgsl",
    "shared/matrix" => "shared/matrix.wgsl",
    "shared/matrix_part" => "shared/matrix_part.wgsl",
    "shared/measuring" => "shared/measuring.wgsl",
    "shared/members" => "shared/members.wgsl",
    "shared/normed_heads" => "shared/normed_heads.wgsl",
    "shared/opaque" => "shared/opaque.wgsl",
    "shared/order" => "shared/order.wgsl",
    "shared/payload" => "shared/payload.wgsl",
    "shared/planes" => "shared/planes.wgsl",
    "shared/product" => "shared/product.wgsl",
    "shared/raw" => "shared/raw.wgsl",
    "shared/rms" => "shared/rms.wgsl",
    "shared/scaled" => "shared/scaled.wgsl",
    "shared/seen" => "shared/seen.wgsl",
    "shared/silu" => "shared/silu.wgsl",
    "shared/spans" => "shared/spans.wgsl",
    "shared/split_rows" => "shared/split_rows.wgsl",
    "shared/status" => "shared/status.wgsl",
    "shared/step" => "shared/step.wgsl",
    "shared/stream" => "shared/stream.wgsl",
    "shared/sum" => "shared/sum.wgsl",
    "shared/sum_of_lanes" => "shared/sum_of_lanes.wgsl",
    "shared/table_rows" => "shared/table_rows.wgsl",
    "shared/tiered" => "shared/tiered.wgsl",
    "shared/transcoded" => "shared/transcoded.wgsl",
    "shared/update_step" => "shared/update_step.wgsl",
    "shared/updated" => "shared/updated.wgsl",
    "shared/vocabulary_part" => "shared/vocabulary_part.wgsl",
    "shared/wide" => "shared/wide.wgsl",
    "shared/wide_vectors" => "shared/wide_vectors.wgsl",
}

/// The text of a file of `shaders/`, which is named without its extension.
pub(super) fn source(file: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(name, _)| *name == file).map(|&(_, text)| text)
}

/// A short identifier of the contents of `shaders/`, which changes if any file changes.
pub(in crate::gpu) fn revision() -> String {
    let mut hasher = blake3::Hasher::new();
    for text in SOURCES.iter().flat_map(|(name, text)| [name, text]) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].into()
}
