// Multiplies the factors of a matrix's rows so that the change of the whole matrix is limited as AdaLomo limits it.
//
// One workgroup handles the matrix.
//
// Bindings:
//   0  step            what the step is given (shared/update_step.wgsl)
//   1  part            rows and columns of the matrix
//   2  change_squares  [rows], f32, sums of squares of gradients that were multiplied by their factors
//   3  weight_squares  [rows], f32, sums of squares of weights
//   4  row_scales      [rows], f32
//
// Workgroups: (1, 1).

#import sum_of_lanes
#import matrix_part
#import adalomo

@group(0) @binding(2) var<storage, read> change_squares: array<f32>;
@group(0) @binding(3) var<storage, read> weight_squares: array<f32>;
@group(0) @binding(4) var<storage, read_write> row_scales: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var changes = 0.0;
    var weights = 0.0;
    for (var row = lane; row < part.rows; row += 64u) {
        changes += change_squares[row];
        weights += weight_squares[row];
    }
    let all_changes = sum_of_lanes(changes, lane);
    let all_weights = sum_of_lanes(weights, lane);
    let by = limit(all_changes, all_weights, f32(part.rows) * f32(part.columns));
    for (var row = lane; row < part.rows; row += 64u) {
        row_scales[row] *= by;
    }
}
