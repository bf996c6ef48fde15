//! The kernels that training needs besides those of inference. Their twins compute in F64, so that a whole trainer made
//! of them can be checked against differences.

pub mod adalomo;
pub mod add_bias;
pub mod attention_weights;
pub mod attention_weights_back;
pub mod column_sums;
mod columns;
mod elements;
pub mod embed_grad;
pub mod embed_rows;
pub mod encode;
pub mod gated;
pub mod gated_back;
pub mod head_norm;
pub mod head_norm_back;
pub mod logit_grad;
pub mod logit_stats;
mod matrix_part;
pub mod multiply;
pub mod norm_back;
mod normed_heads;
pub mod rotate;
pub mod scale;
pub mod square_columns;
pub mod square_rows;
pub mod unpack;
pub mod update;
pub mod update_vector;
pub mod updated;

pub use columns::Columns;
pub use matrix_part::MatrixPart;
pub use normed_heads::NormedHeads;

use crate::gpu::Variant;

/// All variants: with `textures`, those that read factors from textures, too.
pub(super) fn variants(textures: bool) -> Vec<Variant> {
    let mut all = vec![
        attention_weights::variant(),
        attention_weights_back::variant(),
        add_bias::variant(),
        embed_rows::variant(),
        gated::variant(),
        gated_back::variant(),
        head_norm::variant(),
        head_norm_back::variant(),
        logit_grad::variant(),
        logit_stats::variant(),
        norm_back::variant(),
        scale::variant(),
        unpack::variant(),
    ];
    for along in [[true, true], [true, false], [false, false]].into_iter().filter(|_| textures) {
        all.extend([false, true].map(|accumulate| multiply::texture_variant(accumulate, along)));
    }
    for yes in [false, true] {
        all.extend([
            multiply::variant(yes),
            rotate::variant(yes),
            column_sums::variant(yes),
            embed_grad::variant(yes),
        ]);
    }
    all.extend(encode::variants());
    all.extend(adalomo::variants());
    all.extend([false, true].map(square_rows::variant));
    all.extend([false, true].map(square_columns::variant));
    all.extend(updated::UpdateRule::of_matrices().map(update::variant));
    all.extend(updated::UpdateRule::of_vectors().map(update_vector::variant));
    all
}
