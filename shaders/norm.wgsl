// RMS norm (Zhang and Sennrich, 2019) of one token a workgroup: y = x / sqrt(mean(x²) + ε) · weight.
//
// Token t of the output is token `first_output` + t of the input where OUTPUT is set, and token t
// elsewhere.

#import step

struct Norm {
    len: u32,
    x_stride: u32,
    y_stride: u32,
    epsilon: f32,
}

@group(0) @binding(1) var<uniform> norm: Norm;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var start = group.x * norm.x_stride;
#ifdef OUTPUT
    start += step.first_output * norm.x_stride;
#else
    if group.x >= step.tokens {
        return;
    }
#endif
    let to = group.x * norm.y_stride;
    var part = 0.0;
    for (var i = lane; i < norm.len; i += 64u) {
        part = fma(x[start + i], x[start + i], part);
    }
    parts[lane] = part;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += parts[i];
    }
    let scale = 1.0 / sqrt(sum / f32(norm.len) + norm.epsilon);
    for (var i = lane; i < norm.len; i += 64u) {
        y[to + i] = x[start + i] * scale * weight[i];
    }
}
