// Gradients through an RMS norm (norm.wgsl): what the norm's input contributes is added to `x_grad`. What the norm
// multiplied each token by is kept.
//
// One workgroup handles one token. One invocation has every 64th of its elements.
//
// Bindings:
//   1  norm    elements of a token, strides and ε
//   2  x       [tokens, stride], f32, the norm's input
//   3  weight  [len], f32
//   4  y_grad  [tokens, stride], f32
//   5  x_grad  [tokens, stride], f32
//   6  scales  [tokens], f32
//
// Workgroups: (tokens, 1).

#import rms

struct Norm {
    // Elements of a token, and from one token to the next.
    len: u32,
    stride: u32,
    epsilon: f32,
    unused0: u32,
}

@group(0) @binding(1) var<uniform> norm: Norm;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> y_grad: array<f32>;
@group(0) @binding(5) var<storage, read_write> x_grad: array<f32>;
@group(0) @binding(6) var<storage, read_write> scales: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * norm.stride;
    var squares = 0.0;
    var products = 0.0;
    for (var i = lane; i < norm.len; i += 64u) {
        squares = fma(x[at + i], x[at + i], squares);
        products = fma(x[at + i], weight[i] * y_grad[at + i], products);
    }
    let count = f32(norm.len);
    let scale = rms_scale(squares, lane, norm.len, norm.epsilon);
    let drift = sum_of_lanes(products, lane) / count * scale * scale * scale;
    for (var i = lane; i < norm.len; i += 64u) {
        x_grad[at + i] += scale * weight[i] * y_grad[at + i] - drift * x[at + i];
    }
    if lane == 0u {
        scales[group.x] = scale;
    }
}
