// Gradients of the embedding's rows that are there: each row's is the sum of those of the tokens that looked it up, in
// order.
//
// One workgroup handles 64 elements of one row. One invocation handles one.
//
// Bindings:
//   1  rows    which rows are there, and strides
//   2  starts  [rows of the whole embedding + 1]: where a row's tokens begin
//   3  places  [tokens]: which of the batch's tokens they are
//   4  x_grad  [tokens, stride], f32
//   5  grads   [rows, columns], f32
//
// Workgroups: (rows, 64 columns each).
//
// ACCUMULATE adds to what `grads` holds.

#import table_rows

@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> places: array<u32>;
@group(0) @binding(4) var<storage, read> x_grad: array<f32>;
@group(0) @binding(5) var<storage, read_write> grads: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = rows.first + group.x;
    let i = group.y * 64u + lane;
    if i >= rows.columns {
        return;
    }
    let at = group.x * rows.columns + i;
#ifdef ACCUMULATE
    var sum = grads[at];
#else
    var sum = 0.0;
#endif
    let end = starts[row + 1u];
    for (var place = starts[row]; place < end; place++) {
        sum += x_grad[places[place] * rows.stride + i];
    }
    grads[at] = sum;
}
