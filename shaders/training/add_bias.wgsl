// Adds a bias to columns of every token.
//
// One workgroup handles 64 columns of one token. One invocation handles one.
//
// Bindings:
//   1  columns  how many, of how many tokens
//   2  bias     [columns], f32
//   3  y        [tokens, stride], f32, columns from `first` on
//
// Workgroups: (64 columns each, tokens).

#import columns

@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 64u + lane;
    if column < columns.columns {
        y[group.y * columns.stride + columns.first + column] += bias[column];
    }
}
