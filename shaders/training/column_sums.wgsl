// Sums over tokens, column by column: the gradient of a bias; and where there is NORM, that of a norm's weight, for
// which each element is multiplied by the norm's input and by what the norm multiplied the token by.
//
// One invocation adds up one column, tokens in order.
//
// Bindings:
//   1  columns  how many, of how many tokens
//   2  y_grad   [tokens, stride], f32, columns from `first` on
//   3  sums     [columns], f32
//   4  x        [tokens, x_stride], f32, where there is NORM
//   5  scales   [tokens], f32, where there is NORM
//
// Workgroups: (64 columns each, 1).

#import columns

@group(0) @binding(2) var<storage, read> y_grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
#ifdef NORM
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 64u + lane;
    if column >= columns.columns {
        return;
    }
    var sum = 0.0;
    for (var token = 0u; token < columns.tokens; token++) {
        let at = token * columns.stride + columns.first + column;
#ifdef NORM
        sum = fma(y_grad[at] * scales[token], x[at], sum);
#else
        sum += y_grad[at];
#endif
    }
    sums[column] = sum;
}
