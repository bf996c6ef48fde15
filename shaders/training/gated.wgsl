// y = silu(gate) · up, element by element (Shazeer, "GLU variants improve transformer", 2020).
//
// One invocation handles one element.
//
// Bindings:
//   1  length  of each operand
//   2  gate    f32
//   3  up      f32
//   4  y       f32
//
// Workgroups: (rows of 64 · 256 elements, 256).

#import elements

@group(0) @binding(2) var<storage, read> gate: array<f32>;
@group(0) @binding(3) var<storage, read> up: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = element(group, lane);
    if i >= length.elements {
        return;
    }
    let g = gate[i];
    // Where exp would overflow the quotient is 0 to every bit that is kept.
    y[i] = g / (1.0 + exp(min(-g, 80.0))) * up[i];
}
