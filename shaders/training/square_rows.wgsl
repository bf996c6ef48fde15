// The sum of squares of each row of a piece of a matrix; with FACTORED of each row multiplied by a factor for the row
// and for each column.
//
// One workgroup handles one row. One invocation has every 64th of its elements.
//
// Bindings:
//   1  part           rows and columns of the piece, and its first row
//   2  x              [rows, columns], f32
//   3  sums           [rows of the matrix], f32
//   4  row_scales     [rows of the matrix], f32, where there is FACTORED
//   5  column_scales  [columns], f32, where there is FACTORED
//
// Workgroups: (rows, 1).

#import sum_of_lanes
#import matrix_part

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
#ifdef FACTORED
@group(0) @binding(4) var<storage, read> row_scales: array<f32>;
@group(0) @binding(5) var<storage, read> column_scales: array<f32>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * part.columns;
    var sum = 0.0;
    for (var i = lane; i < part.columns; i += 64u) {
#ifdef FACTORED
        let element = x[at + i] * row_scales[part.first_row + group.x] * column_scales[i];
#else
        let element = x[at + i];
#endif
        sum = fma(element, element, sum);
    }
    let all = sum_of_lanes(sum, lane);
    if lane == 0u {
        sums[part.first_row + group.x] = all;
    }
}
