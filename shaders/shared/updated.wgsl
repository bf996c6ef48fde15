// What a step of the optimizer makes of a weight, and with MOMENTS of its moments. Kernels that import it have a
// `status`.
//
// SGD; with MOMENTS AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019). A gradient that is not
// finite, or with moments its square, leaves its weight as it is and sets a bit of the status. So does a weight that
// would not be finite.
//
// Weights are BF16. They are rounded to the nearest, ties to even, or with STOCHASTIC up or down at random, on the
// average to what was to be rounded. The random number is a hash of the seed, the step, the tensor and the weight's
// place. With UNROUNDED they are f32.
//
// A finite gradient is limited to `clip` in size before it is used.

#import update_step
#import finite
#import status

#ifdef STOCHASTIC
// Every bit of `x` changes half of the result's (Wellons's "lowbias32").
fn mix(x: u32) -> u32 {
    var h = x;
    h = (h ^ (h >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

fn random(tensor: u32, row: u32, col: u32) -> u32 {
    return mix(col ^ mix(row ^ mix(tensor ^ mix(step.step ^ mix(step.seed)))));
}
#endif

// The bits of a rounded number: a BF16 is in the upper half of a word.
fn rounded(number: f32, tensor: u32, row: u32, col: u32) -> u32 {
    let bits = bitcast<u32>(number);
#ifdef UNROUNDED
    return bits;
#else
#ifdef STOCHASTIC
    return (bits + (random(tensor, row, col) & 0xffffu)) & 0xffff0000u;
#else
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u;
#endif
#endif
}

#ifdef MOMENTS
fn change(weight: f32, grad: f32, moments: ptr<function, vec2<f32>>) -> f32 {
    let before = *moments;
    let first = fma(step.beta1, before.x, (1.0 - step.beta1) * grad);
    let second = fma(step.beta2, before.y, (1.0 - step.beta2) * grad * grad);
    *moments = vec2<f32>(first, second);
    let root = sqrt(second / step.correction2) + step.epsilon;
    return fma(step.weight_decay, weight, first / step.correction1 / root);
}
#else
fn change(weight: f32, grad: f32, moments: ptr<function, vec2<f32>>) -> f32 {
    return fma(step.weight_decay, weight, grad);
}
#endif

// The bits of the weight after the step. `moments` are its first and second moment.
fn updated(bits: u32, grad: f32, moments: ptr<function, vec2<f32>>, tensor: u32, row: u32, col: u32) -> u32 {
#ifdef MOMENTS
    let largest = grad * grad;
#else
    let largest = grad;
#endif
    if is_not_finite(bitcast<u32>(largest)) {
        atomicOr(&status, BAD_GRADIENT);
        return bits;
    }
    let weight = bitcast<f32>(bits);
    let to = change(weight, clamp(grad, -step.clip, step.clip), moments);
    let result = rounded(fma(-step.learning_rate, to, weight), tensor, row, col);
    if is_not_finite(result) {
        atomicOr(&status, BAD_WEIGHT);
        return bits;
    }
    return result;
}
