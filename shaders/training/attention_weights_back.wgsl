// Gradients of attention's weights to those of the products of queries with keys, where they are:
// dS = scale · P (dP - the sum of P dP over the query's keys).
//
// One workgroup computes eight queries of one head. Eight invocations have a query, and each of them every eighth of its
// keys.
//
// Bindings:
//   1  seen       sizes, the scale of scores and the window
//   2  weights    [products, length, row], f32
//   3  gradients  [products, length, row], f32
//
// Workgroups: (eights of queries, products).

#import seen
#import eights

@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradients: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = 8u * group.x + (lane >> 3u);
    let at = group.y * seen.product + query * seen.row;
    let first = first_seen(query);
    // None for queries beyond the last.
    let end = select(0u, query + 1u, query < seen.length);
    var part = 0.0;
    for (var key = first + (lane & 7u); key < end; key += 8u) {
        part = fma(weights[at + key], gradients[at + key], part);
    }
    let sum = sum_of_eight(part, lane);
    let row = select(0u, seen.row, query < seen.length);
    for (var key = lane & 7u; key < row; key += 8u) {
        if key >= first && key < end {
            gradients[at + key] = seen.scale * weights[at + key] * (gradients[at + key] - sum);
        } else {
            gradients[at + key] = 0.0;
        }
    }
}
