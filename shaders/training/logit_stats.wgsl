// What the loss needs of logits, part of the vocabulary by part: of each token the largest, the sum of the exponentials
// of all of them less the largest, and the one that belongs to its target. Sums have a running largest (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018).
//
// One workgroup handles one token. One invocation has every 64th of its logits, in order, and parts have a multiple of
// 64: so the sums do not depend on the parts.
//
// Bindings:
//   1  part     which logits are there
//   2  logits   [tokens, stride], f32
//   3  targets  [tokens]: the token that follows, or NO_TARGET
//   4  stats    [tokens]: the largest, the sum, the target's logit, and how many logits were not finite
//   5  running  [tokens, 64]: of each invocation the largest and the sum
//
// Workgroups: (tokens, 1).

#import vocabulary_part
#import sum_of_lanes
#import finite

@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> running: array<vec2<f32>>;

// Below every real logit, and far from where exp misbehaves.
const LEAST: f32 = -1e30;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * part.stride;
    var before = vec4<f32>(0.0);
    var own = vec2<f32>(LEAST, 0.0);
    if part.first > 0u {
        before = stats[group.x];
        own = running[group.x * 64u + lane];
    }
    var strange = 0.0;
    for (var i = lane; i < part.rows; i += 64u) {
        let logit = logits[at + i];
        if is_not_finite(bitcast<u32>(logit)) {
            strange += 1.0;
        } else {
            let largest = max(own.x, logit);
            own = vec2<f32>(largest, own.y * exp(own.x - largest) + exp(logit - largest));
        }
    }
    running[group.x * 64u + lane] = own;
    let all_strange = before.w + sum_of_lanes(strange, lane);
    let largest = largest_of_lanes(own.x, lane);
    let sum = sum_of_lanes(own.y * exp(own.x - largest), lane);
    if lane == 0u {
        let in_part = targets[group.x] - part.first;
        var logit = before.z;
        // Differences are modulo 2³².
        if targets[group.x] != NO_TARGET && in_part < part.rows {
            logit = logits[at + in_part];
        }
        stats[group.x] = vec4<f32>(largest, sum, logit, all_strange);
    }
}
