// Causal attention of one query head of one token a workgroup, reading the cache once: keys are
// taken 64 at a time, with a running maximum and sum (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018). Invocation i scores key i of the 64 and then gathers elements
// i, i + 64, i + 128 and i + 192 of the result, so a head has at most 256 elements.

#import step
#import heads

@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> cache: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> query: array<f32, 256>;
var<workgroup> scores: array<f32, 64>;

// Below every real score, and far from where exp misbehaves.
const LEAST: f32 = -1e30;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let token = group.y;
    let dim = heads.head_dim;
    let kv_head = head / (heads.heads / heads.kv_heads);
    let at = token * heads.q_stride + head * dim;
    for (var i = lane; i < dim; i += 64u) {
        query[i] = q[at + i] * heads.scale;
    }
    workgroupBarrier();

    let end = step.position + token + 1u;
    let start = end - min(end, heads.window);
    let keys = kv_head * heads.context * dim;
    let values = (heads.kv_heads + kv_head) * heads.context * dim;
    var most = LEAST;
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var first = start; first < end; first += 64u) {
        let count = min(64u, end - first);
        var score = LEAST;
        if lane < count {
            let key = keys + (first + lane) * dim;
            var parts = vec4<f32>(0.0);
            for (var i = 0u; i < dim; i += 4u) {
                let a = vec4<f32>(query[i], query[i + 1u], query[i + 2u], query[i + 3u]);
                let b = vec4<f32>(cache[key + i], cache[key + i + 1u], cache[key + i + 2u], cache[key + i + 3u]);
                parts = fma(a, b, parts);
            }
            score = (parts.x + parts.y) + (parts.z + parts.w);
        }
        scores[lane] = score;
        workgroupBarrier();
        var new_most = most;
        for (var i = 0u; i < count; i++) {
            new_most = max(new_most, scores[i]);
        }
        let shrink = exp(max(most - new_most, -80.0));
        total *= shrink;
        sum *= shrink;
        most = new_most;
        for (var i = 0u; i < count; i++) {
            let weight = exp(max(scores[i] - most, -80.0));
            total += weight;
            let value = values + (first + i) * dim + lane;
            sum.x = fma(weight, cache[value], sum.x);
            if dim > 64u {
                sum.y = fma(weight, cache[value + 64u], sum.y);
            }
            if dim > 128u {
                sum.z = fma(weight, cache[value + 128u], sum.z);
                sum.w = fma(weight, cache[value + 192u], sum.w);
            }
        }
        workgroupBarrier();
    }
    let result = sum / total;
    let to = token * heads.q_stride + head * dim;
    if lane < dim {
        y[to + lane] = result.x;
    }
    if lane + 64u < dim {
        y[to + lane + 64u] = result.y;
    }
    if lane + 128u < dim {
        y[to + lane + 128u] = result.z;
    }
    if lane + 192u < dim {
        y[to + lane + 192u] = result.w;
    }
}
