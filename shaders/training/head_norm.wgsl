// RMS norms of the query or key heads of every token (Qwen3), which are not where they are read: gradients need both.
//
// One workgroup handles one head of one token. One invocation has every 64th of its elements.
//
// Bindings:
//   1  heads   the shape of heads (shared/normed_heads.wgsl)
//   2  x       [tokens, x_stride], f32
//   3  weight  [dim], f32
//   4  y       [tokens, y_stride], f32
//
// Workgroups: (tokens, heads).

#import normed_heads
#import rms

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.x * heads.x_stride + heads.first + group.y * heads.dim;
    let to = group.x * heads.y_stride + heads.first + group.y * heads.dim;
    var squares = 0.0;
    for (var i = lane; i < heads.dim; i += 64u) {
        squares = fma(x[start + i], x[start + i], squares);
    }
    let scale = rms_scale(squares, lane, heads.dim, heads.epsilon);
    for (var i = lane; i < heads.dim; i += 64u) {
        y[to + i] = x[start + i] * scale * weight[i];
    }
}
