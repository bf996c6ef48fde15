// What AdaLomo keeps of a matrix, and what its gradients are multiplied by: a factor for each row and for each column.
// A row or column whose squares are not finite keeps what it had, and sets a bit of the status.
//
// One workgroup handles the matrix.
//
// Bindings:
//   0  step            what the step is given (shared/update_step.wgsl)
//   1  part            rows and columns of the matrix
//   2  row_squares     [rows], f32, sums of squares of gradients
//   3  column_squares  [columns], f32
//   4  means           [rows + columns], f32, what is kept
//   5  row_scales      [rows], f32
//   6  column_scales   [columns], f32
//   7  status          what went wrong
//
// Workgroups: (1, 1).

#import sum_of_lanes
#import matrix_part
#import adalomo
#import status

@group(0) @binding(2) var<storage, read> row_squares: array<f32>;
@group(0) @binding(3) var<storage, read> column_squares: array<f32>;
@group(0) @binding(4) var<storage, read_write> means: array<f32>;
@group(0) @binding(5) var<storage, read_write> row_scales: array<f32>;
@group(0) @binding(6) var<storage, read_write> column_scales: array<f32>;
@group(0) @binding(7) var<storage, read_write> status: atomic<u32>;

// What is kept at `at` after a step: a mean of `count` squares, whose sum is `squares`.
fn mean_at(at: u32, squares: f32, count: u32) -> f32 {
    let before = means[at];
    if is_not_finite(bitcast<u32>(squares)) {
        atomicOr(&status, BAD_GRADIENT);
        return before;
    }
    let mean = kept(before, squares / f32(count));
    means[at] = mean;
    return mean;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var row = lane; row < part.rows; row += 64u) {
        sum += mean_at(row, row_squares[row], part.columns);
    }
    let root = sqrt(max(sum_of_lanes(sum, lane) / f32(part.rows), EPSILON));
    for (var row = lane; row < part.rows; row += 64u) {
        row_scales[row] = root * inverse_root(means[row]);
    }
    for (var column = lane; column < part.columns; column += 64u) {
        column_scales[column] = inverse_root(mean_at(part.rows + column, column_squares[column], part.rows));
    }
}
