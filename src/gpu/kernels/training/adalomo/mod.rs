//! AdaLomo (Lv and others, "AdaLomo: low-memory optimization with adaptive learning rate", 2023): makes changes of
//! gradients. Of a matrix, a mean of squares is kept for each row and each column; of a vector, for each element.
//!
//! For a matrix, sums of squares come first; `factors` says by what rows and columns are multiplied, `limit` limits the
//! whole matrix, and `change` multiplies. What is made of gradients is then subtracted as SGD subtracts gradients.

pub mod change;
pub mod factors;
pub mod limit;
pub mod vector;

use crate::gpu::Variant;

/// Added to squares of gradients.
const EPSILON: f64 = 1e-30;

/// What the root mean square of weights counts as, at the least.
const LEAST_SCALE: f64 = 1e-3;

/// What a step makes of a mean of squares, of which it keeps `beta2`.
fn kept(beta2: f64, before: f64, squares: f64) -> f64 {
    beta2 * before + (1.0 - beta2) * (squares + EPSILON)
}

fn inverse_root(mean: f64) -> f64 {
    1.0 / mean.max(EPSILON).sqrt()
}

/// What all changes of a tensor are multiplied by.
fn limited(change_squares: f64, weight_squares: f64, count: usize) -> f64 {
    let root = |squares: f64| (squares / count as f64).sqrt();
    root(weight_squares).max(LEAST_SCALE) / root(change_squares).max(1.0)
}

/// All variants.
pub(super) fn variants() -> Vec<Variant> {
    vec![change::variant(), factors::variant(), limit::variant(), vector::variant()]
}
