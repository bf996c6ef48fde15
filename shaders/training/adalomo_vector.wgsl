// Makes changes of a vector's gradients as AdaLomo does, where they are. A mean of squares is kept for each element. A
// gradient whose square is not finite stays as it is, sets a bit of the status, and makes all others zero.
//
// One workgroup handles the vector.
//
// Bindings:
//   0  step     what the step is given (shared/update_step.wgsl)
//   1  length   how many elements
//   2  grads    [elements], f32
//   3  weights  [elements], f32
//   4  means    [elements], f32, what is kept
//   5  status   what went wrong
//
// Workgroups: (1, 1).

#import sum_of_lanes
#import elements
#import adalomo
#import status

@group(0) @binding(2) var<storage, read_write> grads: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> means: array<f32>;
@group(0) @binding(5) var<storage, read_write> status: atomic<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var changes = 0.0;
    var squares = 0.0;
    var bad = 0.0;
    for (var i = lane; i < length.elements; i += 64u) {
        let grad = grads[i];
        squares = fma(weights[i], weights[i], squares);
        if is_not_finite(bitcast<u32>(grad * grad)) {
            atomicOr(&status, BAD_GRADIENT);
            bad = 1.0;
        } else {
            let mean = kept(means[i], grad * grad);
            means[i] = mean;
            let change = grad * inverse_root(mean);
            grads[i] = change;
            changes = fma(change, change, changes);
        }
    }
    let all_changes = sum_of_lanes(changes, lane);
    let all_squares = sum_of_lanes(squares, lane);
    let is_bad = sum_of_lanes(bad, lane) > 0.0;
    let by = select(limit(all_changes, all_squares, f32(length.elements)), 0.0, is_bad);
    for (var i = lane; i < length.elements; i += 64u) {
        grads[i] *= by;
    }
}
