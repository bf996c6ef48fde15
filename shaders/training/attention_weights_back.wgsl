// Gradients of attention's weights to those of the products of queries with keys, where they are:
// dS = scale · P (dP - the sum of P dP over the query's keys).
//
// One workgroup computes one query of one head. One invocation has every 64th of its keys.
//
// Bindings:
//   1  seen       sizes, the scale of scores and the window
//   2  weights    [products, length, row], f32
//   3  gradients  [products, length, row], f32
//
// Workgroups: (queries, products).

#import seen
#import sum_of_lanes

@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradients: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.y * seen.product + group.x * seen.row;
    let first = first_seen(group.x);
    var part = 0.0;
    for (var key = first + lane; key <= group.x; key += 64u) {
        part = fma(weights[at + key], gradients[at + key], part);
    }
    let sum = sum_of_lanes(part, lane);
    for (var key = lane; key < seen.row; key += 64u) {
        let is_seen = key >= first && key <= group.x;
        if is_seen {
            gradients[at + key] = seen.scale * weights[at + key] * (gradients[at + key] - sum);
        } else {
            gradients[at + key] = 0.0;
        }
    }
}
