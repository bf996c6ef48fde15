// Gradients of a gated product, y = silu(gate) · up: those of gate and up take the place of gate and up.
//
// One invocation handles one element.
//
// Bindings:
//   1  length  of each operand
//   2  y_grad  f32
//   3  gate    f32
//   4  up      f32
//
// Workgroups: (rows of 64 · 256 elements, 256).

#import elements

@group(0) @binding(2) var<storage, read> y_grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> gate: array<f32>;
@group(0) @binding(4) var<storage, read_write> up: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = element(group, lane);
    if i >= length.elements {
        return;
    }
    let g = gate[i];
    let sigmoid = 1.0 / (1.0 + exp(min(-g, 80.0)));
    gate[i] = y_grad[i] * up[i] * sigmoid * (1.0 + g * (1.0 - sigmoid));
    up[i] = y_grad[i] * g * sigmoid;
}
