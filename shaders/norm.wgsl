// RMS norm: y = x / sqrt(mean(x²) + ε) · weight.
//
// One workgroup normalises one token. One invocation has every 64th of its elements. Token t of y is token
// `first_output` + t of x where OUTPUT is set, and token t elsewhere.
//
// Bindings:
//   0  step    the tokens of this batch (shared/step.wgsl)
//   1  norm    elements of a token, strides and ε
//   2  x       [tokens, x_stride], f32
//   3  weight  [len], f32
//   4  y       [tokens, y_stride], f32
//
// Workgroups: (tokens, 1).

#import step
#import rms

struct Norm {
    // Elements of a token, and from one token to the next.
    len: u32,
    x_stride: u32,
    y_stride: u32,
    epsilon: f32,
}

@group(0) @binding(1) var<uniform> norm: Norm;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

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
    let scale = rms_scale(part, lane, norm.len, norm.epsilon);
    for (var i = lane; i < norm.len; i += 64u) {
        y[to + i] = x[start + i] * scale * weight[i];
    }
}
