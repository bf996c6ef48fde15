// Scores of attention to its weights, where they are: the softmax of each query's scores with the keys that it sees.
// Weights of the others are zero.
//
// One workgroup computes eight queries of one head. Eight invocations have a query, and each of them every eighth of its
// keys.
//
// Bindings:
//   1  seen    sizes, the scale of scores and the window
//   2  scores  [products, length, row], f32
//
// Workgroups: (eights of queries, products).

#import seen
#import eights

@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

// Below every real score, and far from where exp misbehaves.
const LEAST: f32 = -1e30;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = 8u * group.x + (lane >> 3u);
    let at = group.y * seen.product + query * seen.row;
    let first = first_seen(query);
    // None for queries beyond the last.
    let end = select(0u, query + 1u, query < seen.length);
    var largest = LEAST;
    for (var key = first + (lane & 7u); key < end; key += 8u) {
        largest = max(largest, scores[at + key] * seen.scale);
    }
    largest = largest_of_eight(largest, lane);
    var part = 0.0;
    for (var key = first + (lane & 7u); key < end; key += 8u) {
        let weight = exp(scores[at + key] * seen.scale - largest);
        scores[at + key] = weight;
        part += weight;
    }
    let sum = sum_of_eight(part, lane);
    // All of a row is written: what is not seen may not be a number.
    let row = select(0u, seen.row, query < seen.length);
    for (var key = lane & 7u; key < row; key += 8u) {
        if key >= first && key < end {
            scores[at + key] = scores[at + key] / sum;
        } else {
            scores[at + key] = 0.0;
        }
    }
}
