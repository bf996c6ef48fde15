// Rows of the embedding to tokens: of those tokens whose rows are among the ones that are there.
//
// One workgroup handles one token. One invocation has every 64th of its elements.
//
// Bindings:
//   1  rows    which rows are there, and strides
//   2  tokens  [tokens]
//   3  table   [rows, columns], f32
//   4  x       [tokens, stride], f32
//
// Workgroups: (tokens, 1).

#import table_rows

@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Differences are modulo 2³².
    let row = tokens[group.x] - rows.first;
    if row >= rows.count {
        return;
    }
    for (var i = lane; i < rows.columns; i += 64u) {
        x[group.x * rows.stride + i] = table[row * rows.columns + i];
    }
}
