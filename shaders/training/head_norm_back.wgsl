// Gradients through the norms of query or key heads (head_norm.wgsl), where they are; and for each token, what its heads
// contribute to the gradient of the norm's weight.
//
// One workgroup handles one token, head by head. One invocation has every 64th element of each.
//
// Bindings:
//   1  heads   the shape of heads (shared/normed_heads.wgsl)
//   2  x       [tokens, x_stride], f32, the norm's input
//   3  weight  [dim], f32
//   4  grads   [tokens, y_stride], f32, gradients of the norm's output, which become those of its input
//   5  sums    [tokens, dim], f32
//
// Workgroups: (tokens, 1).

#import normed_heads
#import rms

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> grads: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let sum_at = group.x * heads.dim;
    for (var i = lane; i < heads.dim; i += 64u) {
        sums[sum_at + i] = 0.0;
    }
    for (var head = 0u; head < heads.heads; head++) {
        let start = group.x * heads.x_stride + heads.first + head * heads.dim;
        let at = group.x * heads.y_stride + heads.first + head * heads.dim;
        var squares = 0.0;
        var products = 0.0;
        for (var i = lane; i < heads.dim; i += 64u) {
            squares = fma(x[start + i], x[start + i], squares);
            products = fma(x[start + i], weight[i] * grads[at + i], products);
        }
        let count = f32(heads.dim);
        let scale = rms_scale(squares, lane, heads.dim, heads.epsilon);
        let drift = sum_of_lanes(products, lane) / count * scale * scale * scale;
        for (var i = lane; i < heads.dim; i += 64u) {
            let grad = grads[at + i];
            sums[sum_at + i] = fma(grad * scale, x[start + i], sums[sum_at + i]);
            grads[at + i] = scale * weight[i] * grad - drift * x[start + i];
        }
    }
}
