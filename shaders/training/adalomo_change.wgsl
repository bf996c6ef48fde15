// Makes changes of gradients, where they are: multiplies each by the factors of its row and of its column.
//
// One invocation handles one element.
//
// Bindings:
//   1  part           rows and columns of the piece, and its first row
//   2  grads          [rows, columns], f32
//   3  row_scales     [rows of the matrix], f32
//   4  column_scales  [columns], f32
//
// Workgroups: (rows, 64 columns each).

#import matrix_part

@group(0) @binding(2) var<storage, read_write> grads: array<f32>;
@group(0) @binding(3) var<storage, read> row_scales: array<f32>;
@group(0) @binding(4) var<storage, read> column_scales: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.y * 64u + lane;
    if column < part.columns {
        grads[group.x * part.columns + column] *= row_scales[part.first_row + group.x] * column_scales[column];
    }
}
