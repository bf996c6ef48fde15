// AdaLomo (Lv and others, "AdaLomo: low-memory optimization with adaptive learning rate", 2023), whose second moments
// of a matrix are factored as Adafactor's are (Shazeer and Stern, 2018): a mean of squares for each row and for each
// column. The change of a whole tensor is limited to a root mean square of 1, and then multiplied by that of its
// weights.

#import update_step
#import finite

// Added to squares of gradients.
const EPSILON: f32 = 1e-30;

// The root mean square of weights counts as this much at the least, so that weights may leave zero.
const LEAST_SCALE: f32 = 1e-3;

// What a step makes of a mean of squares.
fn kept(before: f32, squares: f32) -> f32 {
    return fma(step.beta2, before, (1.0 - step.beta2) * (squares + EPSILON));
}

fn inverse_root(mean: f32) -> f32 {
    return 1.0 / sqrt(max(mean, EPSILON));
}

// What all changes of a tensor are multiplied by. Zero if one of them is not finite, so that none of it is changed.
fn limit(change_squares: f32, weight_squares: f32, count: f32) -> f32 {
    if is_not_finite(bitcast<u32>(change_squares)) {
        return 0.0;
    }
    let scale = max(sqrt(weight_squares / count), LEAST_SCALE);
    return scale / max(sqrt(change_squares / count), 1.0);
}
