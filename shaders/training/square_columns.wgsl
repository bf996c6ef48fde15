// The sum of squares of each column of a piece of a matrix. With ACCUMULATE it goes on from the sums of the pieces
// before.
//
// One invocation adds up one column, rows in order, so that it does not matter how the matrix is cut.
//
// Bindings:
//   1  part  rows and columns of the piece
//   2  x     [rows, columns], f32
//   3  sums  [columns], f32
//
// Workgroups: (64 columns each, 1).

#import matrix_part

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 64u + lane;
    if column >= part.columns {
        return;
    }
#ifdef ACCUMULATE
    var sum = sums[column];
#else
    var sum = 0.0;
#endif
    for (var row = 0u; row < part.rows; row++) {
        let element = x[row * part.columns + column];
        sum = fma(element, element, sum);
    }
    sums[column] = sum;
}
