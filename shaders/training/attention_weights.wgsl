// Scores of attention to its weights, where they are: the softmax of each query's scores with the keys that it sees.
// Weights of the others are zero.
//
// One workgroup computes one query of one head. One invocation has every 64th of its keys.
//
// Bindings:
//   1  seen    sizes, the scale of scores and the window
//   2  scores  [products, length, row], f32
//
// Workgroups: (queries, products).

#import seen
#import sum_of_lanes

@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

// Below every real score, and far from where exp misbehaves.
const LEAST: f32 = -1e30;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.y * seen.product + group.x * seen.row;
    let first = first_seen(group.x);
    var largest = LEAST;
    for (var key = first + lane; key <= group.x; key += 64u) {
        largest = max(largest, scores[at + key] * seen.scale);
    }
    largest = largest_of_lanes(largest, lane);
    var part = 0.0;
    for (var key = first + lane; key <= group.x; key += 64u) {
        let weight = exp(scores[at + key] * seen.scale - largest);
        scores[at + key] = weight;
        part += weight;
    }
    let sum = sum_of_lanes(part, lane);
    for (var key = lane; key < seen.row; key += 64u) {
        let is_seen = key >= first && key <= group.x;
        // What is not seen may not be a number.
        if is_seen {
            scores[at + key] = scores[at + key] / sum;
        } else {
            scores[at + key] = 0.0;
        }
    }
}
